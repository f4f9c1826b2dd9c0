"""The fields of the playground, filled from a generation that is to be made again. Its script sends them as JSON."""

from typing import Any, Final

from django import forms

from workers.catalogue import DEFAULT_MODEL, catalogue
from workers.imaging.encoders import COMPRESSION_PARAMETER, FORMAT_PARAMETER, MAX_COMPRESSION, OutputFormat
from workers.models import Generation
from zekron_api.endpoints import sizes
from zekron_api.endpoints.parameter_fields import MAX_SEED

CUSTOM: Final = "custom"
# The empty field shows it, and the programs of a form without a prompt send it.
EXAMPLE_PROMPT: Final = "A lighthouse on a cliff at dusk"
_HOUR_SECONDS: Final = 3600


def _number(least: int, most: int, **attributes: str | int) -> forms.NumberInput:
    return forms.NumberInput({"min": least, "max": most, "inputmode": "numeric", **attributes})


class PlaygroundForm(forms.Form):
    """The fields as HTML. The API checks what they hold."""

    use_required_attribute = False
    prompt = forms.CharField(
        widget=forms.Textarea(
            {
                "rows": 5,
                "placeholder": EXAMPLE_PROMPT,
                "aria-describedby": "prompt-help error-prompt",
            }
        )
    )
    model = forms.ChoiceField()
    size = forms.ChoiceField()
    width = forms.IntegerField(widget=_number(sizes.MIN_SIDE, sizes.MAX_SIDE, step=sizes.STEP))
    height = forms.IntegerField(widget=_number(sizes.MIN_SIDE, sizes.MAX_SIDE, step=sizes.STEP))
    n = forms.IntegerField(widget=_number(1, 1))
    output_format = forms.ChoiceField(
        choices=[(each.value, {"jpeg": "JPEG", "webp": "WebP"}.get(each, "PNG")) for each in OutputFormat]
    )
    output_compression = forms.IntegerField(
        widget=_number(0, MAX_COMPRESSION, placeholder=str(MAX_COMPRESSION))
    )
    seed = forms.IntegerField(widget=_number(0, MAX_SEED, placeholder="random"))
    negative_prompt = forms.CharField(widget=forms.Textarea({"rows": 2}))
    expires_in = forms.ChoiceField(
        choices=[("", "24 hours"), (str(12 * _HOUR_SECONDS), "12 hours"), (str(_HOUR_SECONDS), "1 hour")]
    )
    partial_images = forms.BooleanField()

    def __init__(self, *, made: Generation | None = None) -> None:
        super().__init__(initial=_initial(made), label_suffix="")
        for name in self.fields:
            widget = self.fields[name].widget
            widget.attrs.setdefault("aria-describedby", f"error-{name}")
        self.fields["model"].choices = [(name, name) for name in catalogue()]  # type: ignore[attr-defined]
        self.fields["size"].choices = _size_choices()  # type: ignore[attr-defined]


def _size_choices() -> list[tuple[str, str]]:
    listed = [(name, name.replace("x", " x ")) for name in sizes.SIZES]
    return [*listed, (sizes.AUTO, "Like image 1"), (CUSTOM, "Another size")]


def _initial(made: Generation | None) -> dict[str, Any]:
    width, height = sizes.SIZES[sizes.DEFAULT_SIZE]
    plain = {
        "model": DEFAULT_MODEL,
        "size": sizes.DEFAULT_SIZE,
        "width": width,
        "height": height,
        "n": 1,
        "partial_images": True,
    }
    if made is None:
        return plain
    wanted = made.parameters
    return plain | {
        "prompt": made.prompt,
        "model": made.model if made.model in catalogue() else DEFAULT_MODEL,
        "size": made.size if made.size in sizes.SIZES else CUSTOM,
        "width": wanted["width"],
        "height": wanted["height"],
        "seed": wanted.get("seed"),
        **{
            name: wanted[name]
            for name in ("negative_prompt", "expires_in", FORMAT_PARAMETER, COMPRESSION_PARAMETER)
            if name in wanted
        },
    }
