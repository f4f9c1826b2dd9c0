"""Audit of image objects: it opens every unexpired image, one at a time. The rows alone cannot show damage."""

from collections.abc import Iterator

from django.db.models import F, TextField, Value
from django.db.models.functions import Concat, Now

from storage import images
from storage.models import StoredImage
from workers import error_redaction
from workers.models import Generation, Status, Timestamp

# The number of rows read at once. The bytes are read one image after the other.
ROWS_AT_ONCE = 500


def find_unreadable(*, now: Timestamp = Now()) -> Iterator[str]:
    """Yield one line with ids for each unexpired image that does not open.

    It reads the whole object store, which takes minutes to hours.
    """
    yield from _find_misplaced(now)
    live = StoredImage.objects.filter(wrapped_key__isnull=False, expires_at__gt=now).order_by("pk")
    after_id = 0
    while batch := list(live.filter(pk__gt=after_id)[:ROWS_AT_ONCE]):
        for image in batch:
            if problem := _read_failure(image):
                yield f"image {image.pk}: its object {image.object_key} {problem}"
        after_id = batch[-1].pk


def _find_misplaced(now: Timestamp) -> Iterator[str]:
    """Yield one line for each image that is sealed for another generation than the one that refers to it.

    Such an image opens, because its own row names the generation that it is sealed for.
    """
    belongs_to = Concat(
        Value("account "), F("account_id"), Value(" generation "), F("pk"), output_field=TextField()
    )
    live = Generation.objects.filter(status=Status.COMPLETED, expires_at__gt=now)
    swapped = live.exclude(image__associated_data=belongs_to).order_by("pk").values_list("pk", "image_id")
    for pk, image_id in swapped.iterator(chunk_size=ROWS_AT_ONCE):
        yield f"generation {pk}: its image {image_id} is sealed for another"


def _read_failure(image: StoredImage) -> str:
    """Return why the image cannot be read. The text is empty if it can be read or has ended meanwhile."""
    try:
        images.load(image=image)
    except images.ObjectMissing:
        return "is missing"
    except images.ImageGone:
        # Since the row was read, the generation has ended or the image has expired.
        return ""
    except images.ImageUnreadable:
        return "is not what was sealed"
    except Exception as error:  # noqa: BLE001 (each store fails in its own way, and the others must still be read)
        return f"could not be read: {error_redaction.summarise(error)}"
    return ""
