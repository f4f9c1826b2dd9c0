"""Faults of the device, of orders that break it, and of images in the store that change behind our back."""

from typing import Any

from tests.chaos import engine
from tests.chaos.faults import Rig, TooEarly, kind


def _of_the_device(fault: str) -> None:
    @kind(f"engine: {fault}")
    def inject(rig: Rig) -> None:
        (rig.cluster.engine_folder / fault).touch()


for _fault in engine.FAULTS:
    _of_the_device(_fault)


@kind("order that kills its worker")
def order_poison(rig: Rig) -> None:
    rig.clients.order_soon(engine.POISON)


@kind("object deleted")
def delete_an_object(rig: Rig) -> None:
    ((generation_id, path),) = _some_objects(rig, 1)
    rig.client_log.spoil(generation_id, status=500)
    path.unlink()


@kind("object corrupted")
def corrupt_an_object(rig: Rig) -> None:
    ((generation_id, path),) = _some_objects(rig, 1)
    rig.client_log.spoil(generation_id, status=500)
    content = bytearray(path.read_bytes())
    content[rig.chance.randrange(len(content))] ^= 1 << rig.chance.randrange(8)
    path.write_bytes(content)


@kind("objects swapped")
def swap_two_objects(rig: Rig) -> None:
    (first_id, first), (second_id, second) = _some_objects(rig, 2)
    rig.client_log.spoil(first_id, status=500)
    rig.client_log.spoil(second_id, status=500)
    of_the_first, of_the_second = first.read_bytes(), second.read_bytes()
    first.write_bytes(of_the_second)
    second.write_bytes(of_the_first)


@kind("image's day is over")
def let_an_image_expire(rig: Rig) -> None:
    ((generation_id, _),) = _some_objects(rig, 1)
    rig.client_log.spoil(generation_id, status=410)
    with rig.cluster.database() as database, database.transaction():
        past = "SET expires_at = now() - interval '1 second' WHERE id"
        database.execute(f"UPDATE workers_generation {past} = %s", [generation_id])
        owned = "(SELECT image_id FROM workers_generation WHERE id = %s)"
        database.execute(f"UPDATE storage_storedimage {past} = {owned}", [generation_id])


def _some_objects(rig: Rig, count: int) -> list[Any]:
    """Images that clients have got, by generation, with the files in which the store keeps them."""
    came = rig.client_log.whole()
    if len(came) < count:
        raise TooEarly
    chosen = [generation_id for generation_id, _ in rig.chance.sample(came, count)]
    statement = (
        "SELECT g.id, i.object_key FROM workers_generation g JOIN storage_storedimage i ON i.id = g.image_id"
        " WHERE g.id = ANY(%s)"
    )
    with rig.cluster.database() as database:
        rows = database.execute(statement, [chosen]).fetchall()
    return [(generation_id, rig.cluster.objects / key) for generation_id, key in rows]
