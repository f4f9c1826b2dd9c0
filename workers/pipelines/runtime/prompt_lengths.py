"""The report of prompts that are longer than the model reads. Knows no tokenizer."""

from collections.abc import Iterable

from workers.engine.interface import ImageOrder


def tell(orders: Iterable[ImageOrder], read_counts: Iterable[int | None]) -> None:
    """Tell each order how many tokens of its prompt are read, unless all are, which None says."""
    for order, read_count in zip(orders, read_counts, strict=True):
        if read_count is not None:
            order.on_prompt_cut(read_count)
