"""The tokenizers of the small pipelines. Each byte is a token, so they need no text to learn from."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from tokenizers.pre_tokenizers import ByteLevel
from transformers import Qwen2TokenizerFast

# Each byte as a printable character. A new order would change every small pipeline.
BYTES: Final = tuple(sorted(ByteLevel.alphabet()))


def number_symbols(symbols: Iterable[str]) -> Mapping[str, int]:
    """Return a vocabulary of these symbols in their order."""
    return {symbol: number for number, symbol in enumerate(symbols)}


def build_qwen_tokenizer(special_tokens: Sequence[str]) -> Qwen2TokenizerFast:
    """Return Qwen's tokenizer with these special tokens before the bytes. The first of them ends a text."""
    return Qwen2TokenizerFast(
        vocab=number_symbols([*special_tokens, *BYTES]),
        merges=[],
        additional_special_tokens=list(special_tokens[1:]),
    )
