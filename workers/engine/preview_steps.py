"""The steps after which an order gets its previews. It knows no latents and no pictures."""

import logging
from collections.abc import Callable

from workers.engine.interface import ImageOrder, Picture, Preview

log = logging.getLogger(__name__)


def choose_steps(*, count: int, step_count: int) -> list[int]:
    """Return at most `count` steps, spread evenly. The last step is none of them, because it ends the picture."""
    spread = (round(index * step_count / (count + 1)) for index in range(1, count + 1))
    return sorted({step for step in spread if 1 <= step < step_count})


def is_due(order: ImageOrder, *, done: int, step_count: int) -> bool:
    """Return whether the order gets a preview after this step."""
    return order.preview_count > 0 and done in choose_steps(count=order.preview_count, step_count=step_count)


def offer(order: ImageOrder, *, done: int, step_count: int, render: Callable[[], Picture]) -> None:
    """Give the order its preview after this step, which is due."""
    number = choose_steps(count=order.preview_count, step_count=step_count).index(done)
    try:
        order.on_preview(Preview(number, done, render))
    except Exception:
        # Previews are optional. A failing callback must cost no picture, neither its own nor a neighbour's.
        log.exception("a preview callback failed")
