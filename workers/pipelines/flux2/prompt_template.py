"""The chat template around a prompt for FLUX.2-klein's text encoder, and how much of the prompt it leaves room for."""

from typing import Any, Final

# A text that no template contains, to find the place of a prompt in it.
_PLACEHOLDER: Final = "\ufffc"


class PromptTemplate:
    """A tokenizer's chat template. The text encoder reads the first `length` tokens of the filled one."""

    def __init__(self, *, tokenizer: Any, length: int) -> None:
        self._tokenizer = tokenizer
        self._length = length

    def fill(self, prompt: str) -> str:
        """Return the template with the prompt, as the pipeline fills it."""
        chat: str = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=False,
        )
        return chat

    def count_read(self, prompt: str) -> int | None:
        """Return how many of the prompt's tokens are read, or None if all are.

        The template's own tokens do not count. Those behind a long prompt are cut off with its end.
        """
        chat = self.fill(prompt)
        before, _, after = self.fill(_PLACEHOLDER).partition(_PLACEHOLDER)
        first, end = len(before), len(chat) - len(after)
        spans = self._tokenizer(chat, return_offsets_mapping=True)["offset_mapping"]
        are_of_prompt = [start < end and stop > first for start, stop in spans]
        read_count = sum(are_of_prompt[: self._length])
        return read_count if read_count < sum(are_of_prompt) else None
