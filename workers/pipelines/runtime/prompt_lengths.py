"""The report of how many tokens the prompts have. Knows no tokenizer."""

from collections.abc import Iterable

from workers.engine.interface import ImageOrder, PromptTokens


def tell(orders: Iterable[ImageOrder], prompt_tokens: Iterable[PromptTokens]) -> None:
    """Tell each order how many tokens its prompt has, and how many of them are read."""
    for order, tokens in zip(orders, prompt_tokens, strict=True):
        order.on_prompt_read(tokens)
