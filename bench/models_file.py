"""The published price of the default model, for models files that benchmarks and tests write."""

from pathlib import Path
from typing import Final

_HEADING: Final = "[zekron-image-1.price]"
_MODELS_FILE: Final = Path(__file__).resolve().parent.parent / "models.toml"

# A table of TOML, as models.toml has it.
PRICE: Final = "\n" + _HEADING + _MODELS_FILE.read_text().partition(_HEADING)[2].partition("\n[")[0]
