"""The tokenizers of the small pipelines: a token a byte, and so no text to learn from."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from tokenizers.pre_tokenizers import ByteLevel
from transformers import Qwen2TokenizerFast

# Each byte as a character that can be seen, in the order that every small pipeline was made with.
BYTES: Final = tuple(sorted(ByteLevel.alphabet()))


def numbered(symbols: Iterable[str]) -> Mapping[str, int]:
    """A vocabulary of these symbols, in their order."""
    return {symbol: number for number, symbol in enumerate(symbols)}


def qwen_tokenizer(signs: Sequence[str]) -> Qwen2TokenizerFast:
    """Qwen's, with these signs before the bytes; the first of them ends a text."""
    return Qwen2TokenizerFast(
        vocab=numbered([*signs, *BYTES]), merges=[], additional_special_tokens=list(signs[1:])
    )
