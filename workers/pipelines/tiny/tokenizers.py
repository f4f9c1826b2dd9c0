"""The tokenizers of the small pipelines: a token a byte, and so no text to learn from."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from tokenizers.pre_tokenizers import ByteLevel
from transformers import Qwen2TokenizerFast

# Each byte as a character that can be seen, in the order that every small pipeline was made with.
BYTES: Final = tuple(sorted(ByteLevel.alphabet()))


def number_symbols(symbols: Iterable[str]) -> Mapping[str, int]:
    """A vocabulary of these symbols, in their order."""
    return {symbol: number for number, symbol in enumerate(symbols)}


def build_qwen_tokenizer(special_tokens: Sequence[str]) -> Qwen2TokenizerFast:
    """Qwen's, with these special_tokens before the bytes; the first of them ends a text."""
    return Qwen2TokenizerFast(
        vocab=number_symbols([*special_tokens, *BYTES]),
        merges=[],
        additional_special_tokens=list(special_tokens[1:]),
    )
