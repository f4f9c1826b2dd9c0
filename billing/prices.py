"""What a generation costs: a rule of five amounts, and exact arithmetic on whole micro-dollars."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from billing.money import MIN_STEP_MICROS, parse_usd

PIXELS_A_MEGAPIXEL = 1024 * 1024
_FIELDS = {
    "base": "base_micros",
    "per_megapixel": "megapixel_micros",
    "per_source_image": "source_image_micros",
    "least": "least_micros",
    "most": "most_micros",
}


@dataclass(frozen=True, kw_only=True)
class PriceRule:
    """base + per megapixel + per source image, rounded half up to four places, kept within least and most."""

    base_micros: int
    megapixel_micros: int
    source_image_micros: int
    least_micros: int
    most_micros: int

    def __post_init__(self) -> None:
        """Refuses a rule that could quote nothing or less; ValueError."""
        if min(self.base_micros, self.megapixel_micros, self.source_image_micros) < 0:
            raise ValueError("A price has no negative part.")
        if not 0 < self.least_micros <= self.most_micros:
            raise ValueError("A price's least is over zero and not over its most.")
        if self.least_micros % MIN_STEP_MICROS or self.most_micros % MIN_STEP_MICROS:
            raise ValueError("A price's least and most have at most four decimal places.")

    @classmethod
    def parse(cls, table: Mapping[str, object]) -> Self:
        """The rule of a price table as in models.toml, its amounts being text. Raises ValueError."""
        if table.keys() != _FIELDS.keys():
            raise ValueError(
                f"A price has exactly {', '.join(_FIELDS)}; this one has {', '.join(table) or 'none'}."
            )
        amounts = {}
        for name, field in _FIELDS.items():
            text = table[name]
            # A float is refused: 0.0267 as one is not what it says.
            if not isinstance(text, str):
                raise ValueError(f'A price\'s {name} is text in quotes, such as "0.0250", and not {text!r}.')
            amounts[field] = parse_usd(text)
        return cls(**amounts)

    def quote_micros(self, *, width: int, height: int, source_count: int) -> int:
        """The price of one image of this many pixels made from this many source images."""
        if width < 1 or height < 1 or source_count < 0:
            raise ValueError("A quote needs positive pixels and no negative source images.")
        # Everything is multiplied by the pixels of a megapixel, so that only the rounding divides.
        fixed_micros = self.base_micros + self.source_image_micros * source_count
        scaled = fixed_micros * PIXELS_A_MEGAPIXEL + self.megapixel_micros * width * height
        step = MIN_STEP_MICROS * PIXELS_A_MEGAPIXEL
        rounded_micros = (2 * scaled + step) // (2 * step) * MIN_STEP_MICROS
        return min(max(rounded_micros, self.least_micros), self.most_micros)
