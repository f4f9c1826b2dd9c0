"""Cancellation of a generation by an operator, who gives a reason that its row keeps for staff."""

from typing import Final

from workers.lifecycle import cancellation
from workers.models import Generation, Status

# The beginning of the detail of each row that an operator cancelled. No client's cancellation has it.
DETAIL_START: Final = "cancelled by "


class NothingToCancel(Exception):
    """The generation has ended, or is being cancelled already. The text says which."""


def cancel(*, generation_id: int, operator: str, reason: str) -> Generation:
    """Cancel the generation in the operator's name, and return its row, which may run until its worker drops it.

    Raise ValueError for a blank reason, Generation.DoesNotExist, or NothingToCancel. Then nothing has changed.
    """
    if not reason.strip():
        raise ValueError("The reason must not be blank.")
    detail = f"{DETAIL_START}{operator}: {reason.strip()}"
    generation = Generation.objects.get(pk=generation_id)
    if not generation.is_open:
        raise NothingToCancel(_describe_end(generation))
    try:
        asked = cancellation.request(generation=generation, detail=detail)
    except cancellation.AlreadyEnded:
        generation.refresh_from_db()
        raise NothingToCancel(_describe_end(generation)) from None
    # Its client, or another operator, was faster.
    if asked.error_detail != detail:
        raise NothingToCancel(f"Generation {generation_id} is being cancelled already.")
    return asked


def describe(generation: Generation) -> str:
    """Return a sentence for the operator about a generation that `cancel` returned."""
    if generation.status == Status.CANCELLED:
        return f"Generation {generation.pk} is cancelled. Nothing is charged."
    return f"Generation {generation.pk} runs. Its worker cancels it within seconds, and nothing is charged."


def _describe_end(generation: Generation) -> str:
    return f"Generation {generation.pk} has already ended: {generation.status}."
