"""A generation as the gallery shows it: in words, and with what a person may do with it."""

from dataclasses import dataclass
from datetime import datetime

from billing.money import format_usd
from workers.models import Generation, Status
from zekron_api.console.access import Access
from zekron_api.console.gallery_filters import name_of_key
from zekron_api.endpoints import generation_object

_BADGES = {
    Status.QUEUED: ("Queued", "warn"),
    Status.RUNNING: ("Being made", "warn"),
    Status.FAILED: ("Failed", "bad"),
    Status.CANCELLED: ("Cancelled", ""),
}


@dataclass(frozen=True)
class ShownGeneration:
    """A generation on a page at a moment, for one member of its account."""

    row: Generation
    access: Access
    now: datetime

    @property
    def has_picture(self) -> bool:
        """Return whether its picture can be seen."""
        row = self.row
        is_kept = row.image is not None and row.image.wrapped_key is not None
        return is_kept and row.expires_at is not None and row.expires_at > self.now

    @property
    def is_gone(self) -> bool:
        """Return whether it had a picture that has expired or was deleted."""
        return self.row.status == Status.COMPLETED and not self.has_picture

    @property
    def badge(self) -> tuple[str, str]:
        """Return a word for its state, and the class of its colour. A picture that is there needs none."""
        if self.row.is_open and self.row.cancel_requested_at is not None:
            return ("Being cancelled", "warn")
        if self.is_gone:
            return ("Deleted", "")
        return _BADGES.get(Status(self.row.status), ("", ""))

    @property
    def error(self) -> str:
        """Return why it has no picture, or an empty text."""
        is_without = self.row.status in {Status.FAILED, Status.CANCELLED}
        return generation_object.error_message(self.row) if is_without else ""

    @property
    def seed(self) -> int | None:
        """Return its seed, until it is erased."""
        seed: int | None = self.row.parameters.get("seed")
        return seed

    @property
    def width(self) -> int:
        """Return the width of its picture in pixels."""
        return int(self.row.parameters["width"])

    @property
    def height(self) -> int:
        """Return the height of its picture in pixels."""
        return int(self.row.parameters["height"])

    @property
    def asked_by(self) -> str:
        """Return the name of the person or of the key that asked for it, or an empty text."""
        if self.row.person is not None:
            return self.row.person.get_username()
        return name_of_key(self.row.api_key) if self.row.api_key is not None else ""

    @property
    def cost(self) -> str:
        """Return what it cost, or may cost while it is open."""
        if self.row.cost_micros is not None:
            return f"{format_usd(self.row.cost_micros)} USD"
        return f"at most {format_usd(self.row.quote_micros)} USD" if self.row.is_open else "free"

    @property
    def time_left(self) -> str:
        """Return the time until its picture is deleted, in the largest whole unit."""
        if self.row.expires_at is None:
            return ""
        seconds = max(0, int((self.row.expires_at - self.now).total_seconds()))
        for unit, length in (("h", 3600), ("min", 60)):
            if seconds >= length:
                return f"{seconds // length} {unit}"
        return f"{seconds} s"

    @property
    def file_name(self) -> str:
        """Return the name under which a browser saves the picture."""
        assert self.row.image is not None
        return f"zekron-{self.row.pk}.{self.row.image.mime_type.rpartition('/')[2]}"

    @property
    def may_cancel(self) -> bool:
        """Return whether the person may cancel it now."""
        is_open = self.row.is_open and self.row.cancel_requested_at is None
        return is_open and self.access.may_generate

    @property
    def may_delete(self) -> bool:
        """Return whether the person may delete it, and there is something to delete."""
        has_content = self.has_picture or self.row.prompt != ""
        return not self.row.is_open and has_content and self.access.may_delete

    @property
    def may_repeat(self) -> bool:
        """Return whether the person may make it again. Nobody can once its prompt is erased."""
        return self.access.may_generate and self.row.prompt != ""
