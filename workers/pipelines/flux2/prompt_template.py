"""The chat template around a prompt for FLUX.2-klein's text encoder, and how much of the prompt it leaves room for."""

from typing import Any, Final, NamedTuple

from workers.engine.interface import PromptTokens

# The parts of a prompt that is too long which may be left out.
END: Final = "end"
MIDDLE: Final = "middle"
# A text that no template contains, to find the place of a prompt in it.
_PLACEHOLDER: Final = "\ufffc"


class FittedPrompt(NamedTuple):
    """A prompt without what must be left out, and the number of tokens that the whole prompt has and that are read."""

    text: str
    tokens: PromptTokens


class _Scan(NamedTuple):
    """A prompt as the filled template has it, the places of its tokens in it, and how many of them are read."""

    text: str
    spans: list[tuple[int, int]]
    read_count: int


class PromptTemplate:
    """A tokenizer's chat template. The text encoder reads the first `length` tokens of the filled one."""

    def __init__(self, *, tokenizer: Any, length: int, cut: str = END) -> None:
        """Take which part of a long prompt to leave out: END, as the pipeline does, or MIDDLE."""
        self._tokenizer = tokenizer
        self._length = length
        self._cut = cut

    def fill(self, prompt: str) -> str:
        """Return the template with the prompt, as the pipeline fills it."""
        chat: str = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=False,
        )
        return chat

    def fit(self, prompt: str) -> FittedPrompt:
        """Return the prompt without the middle that does not fit, and how much of it is read.

        The template's own tokens do not count. Those behind a long prompt are cut off with its end.
        """
        scan = self._scan(prompt)
        total = len(scan.spans)
        if scan.read_count == total:
            return FittedPrompt(prompt, PromptTokens(total, total))
        tail_count = scan.read_count // 2
        if self._cut == END or not tail_count:
            return FittedPrompt(prompt, PromptTokens(scan.read_count, total))
        head_end, tail_start = scan.spans[scan.read_count - tail_count - 1][1], scan.spans[-tail_count][0]
        text = scan.text[:head_end] + scan.text[tail_start:]
        return FittedPrompt(text, PromptTokens(self._scan(text).read_count, total))

    def _scan(self, prompt: str) -> _Scan:
        chat = self.fill(prompt)
        before, _, after = self.fill(_PLACEHOLDER).partition(_PLACEHOLDER)
        first, end = len(before), len(chat) - len(after)
        spans = self._tokenizer(chat, return_offsets_mapping=True)["offset_mapping"]
        own = [(start - first, stop - first) for start, stop in spans if start < end and stop > first]
        read_count = sum(start < end and stop > first for start, stop in spans[: self._length])
        return _Scan(chat[first:end], own, read_count)
