"""The steps after a restore of the database from a backup, before the service runs on it.

The database is then older than what clients were told and than the object store. `docs/runbooks.md` has the whole
procedure.
"""

from itertools import islice
from typing import Final

from django.apps import apps
from django.db import connection

from storage import lost_objects
from workers.lifecycle import deletion
from workers.models import Generation

# Clients in JavaScript read ids below 2**53 exactly, which leaves room for thousands of such restores.
MAX_SKIPPED_IDS: Final = 10**12
_BATCH_ROWS: Final = 2000
_APPS: Final = ("billing", "storage", "workers")
# A setval is not undone by a rollback, and a second call skips further ids, which is harmless.
_SKIP: Final = """
SELECT setval(sequence, coalesce(pg_sequence_last_value(sequence), 0) + %(count)s)
FROM unnest(%(tables)s::text[], %(columns)s::text[]) AS numbered (of_table, of_column),
    LATERAL CAST(pg_get_serial_sequence(of_table, of_column) AS regclass) AS sequence
"""


def skip_ids(*, count: int) -> None:
    """Leave out this many ids of each table.

    Clients know the ids that were given after the backup. No other row may get one of them. Raise ValueError for a
    number by which ids would be given again or run out.
    """
    if not 1 <= count <= MAX_SKIPPED_IDS:
        raise ValueError(f"The number of ids to skip must be from 1 to {MAX_SKIPPED_IDS}.")
    metas = [model._meta for name in _APPS for model in apps.get_app_config(name).get_models()]
    numbered = [(meta.db_table, meta.auto_field.column) for meta in metas if meta.auto_field]
    tables, columns = map(list, zip(*numbered, strict=True))
    with connection.cursor() as cursor:
        cursor.execute(_SKIP, {"tables": tables, "columns": columns, "count": count})


def find_lost_images() -> list[int]:
    """Return the ids of the generations whose unexpired image has no object in the store.

    They were deleted by their owners after the backup, or are damage. Raises what the store raises.
    """
    lost, generation_ids = lost_objects.find(), list[int]()
    # After the loss of a store, every image of a day is lost.
    while image_ids := list(islice(lost, _BATCH_ROWS)):
        found = Generation.objects.filter(image__in=image_ids).values_list("pk", flat=True)
        generation_ids.extend(found)
    return generation_ids


def delete_images(*, generation_ids: list[int]) -> None:
    """Delete these images as their owners did. May be called twice."""
    for generation_id in generation_ids:
        deletion.delete_image(generation_id=generation_id)
