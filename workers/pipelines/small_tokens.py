"""The alphabet of the small pipelines' tokenizers: a token a byte, and so no text to learn from."""

from tokenizers.pre_tokenizers import ByteLevel

# Each byte as a character that can be seen, in the order that every small pipeline was made with.
BYTES = tuple(sorted(ByteLevel.alphabet()))
