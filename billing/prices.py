"""The price of a generation: a rule of five amounts, with exact arithmetic on whole micro-dollars."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

from billing.money import MIN_STEP_MICROS, parse_usd

PIXELS_PER_MEGAPIXEL: Final = 1024 * 1024
_FIELDS: Final = {
    "base": "base_micros",
    "per_megapixel": "megapixel_micros",
    "per_source_image": "source_image_micros",
    "least": "least_micros",
    "most": "most_micros",
}


class PriceLine(NamedTuple):
    """A part of a price: its name and its amount in micros. A reduction to the maximum is negative."""

    what: str
    micros: int


@dataclass(frozen=True, kw_only=True)
class PriceRule:
    """A price of base + per megapixel + per source image, rounded half up to four decimal places.

    The result is kept between `least_micros` and `most_micros`.
    """

    base_micros: int
    megapixel_micros: int
    source_image_micros: int
    least_micros: int
    most_micros: int

    def __post_init__(self) -> None:
        """Refuse a rule that could quote zero or less. Raises ValueError."""
        if min(self.base_micros, self.megapixel_micros, self.source_image_micros) < 0:
            raise ValueError("base, per_megapixel and per_source_image must not be negative.")
        if not 0 < self.least_micros <= self.most_micros:
            raise ValueError("least must be over zero and must not be over most.")
        if self.least_micros % MIN_STEP_MICROS or self.most_micros % MIN_STEP_MICROS:
            raise ValueError("least and most must have at most four decimal places.")

    @classmethod
    def parse(cls, table: Mapping[str, object]) -> Self:
        """Read the rule from a price table as in models.toml, whose amounts are text. Raises ValueError."""
        if table.keys() != _FIELDS.keys():
            raise ValueError(
                f"A price has exactly the fields {', '.join(_FIELDS)}, not {', '.join(table) or 'none'}."
            )
        amounts = {}
        for name, field in _FIELDS.items():
            text = table[name]
            # A float is refused, because 0.0267 has no exact value as a float.
            if not isinstance(text, str):
                raise ValueError(f'{name} must be text in quotes, such as "0.0250", not {text!r}.')
            amounts[field] = parse_usd(text)
        return cls(**amounts)

    def quote_micros(self, *, width: int, height: int, source_count: int) -> int:
        """Return the price in micros of one image with this size in pixels and this number of source images."""
        lines = self.itemise(width=width, height=height, source_count=source_count)
        return sum(line.micros for line in lines)

    def itemise(self, *, width: int, height: int, source_count: int) -> list[PriceLine]:
        """Return the lines of the price: `base`, `size`, `source_images`, and `minimum` or `maximum` if one applies.

        Their sum is the price. The rounding is a part of `size`.
        """
        if width < 1 or height < 1 or source_count < 0:
            raise ValueError("width and height must be positive, and source_count must not be negative.")
        sources_micros = self.source_image_micros * source_count
        fixed_micros = self.base_micros + sources_micros
        # All terms are multiplied by the pixels of a megapixel, so that only the rounding divides.
        scaled = fixed_micros * PIXELS_PER_MEGAPIXEL + self.megapixel_micros * width * height
        step = MIN_STEP_MICROS * PIXELS_PER_MEGAPIXEL
        rounded_micros = (2 * scaled + step) // (2 * step) * MIN_STEP_MICROS
        kept_micros = min(max(rounded_micros, self.least_micros), self.most_micros)
        lines = [PriceLine("base", self.base_micros), PriceLine("size", rounded_micros - fixed_micros)]
        if source_count:
            lines.append(PriceLine("source_images", sources_micros))
        if kept_micros != rounded_micros:
            bound = "minimum" if kept_micros > rounded_micros else "maximum"
            lines.append(PriceLine(bound, kept_micros - rounded_micros))
        return lines
