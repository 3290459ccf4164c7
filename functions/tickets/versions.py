"""The registry of the tickets table's row versions.

    ticket 1 → 2    `text` leaves the ticket's row for a row of its own, under seal (TICKET#ulid | TEXT)
    step   1 → 2    `note` goes under seal in its row

Nobody can seal on reading who has no key, so both read as they are: the store knows `text` and `note` as what is still
unsealed, until a step of staff or `make migrate` (`migration.py`) seals them.
"""

from linli.versions import Item, Upcasts


def _still_unsealed(item: Item) -> Item:
    return item


UPCASTS: Upcasts = {("ticket", 1): _still_unsealed, ("step", 1): _still_unsealed}


def kind_of(item: Item) -> str | None:
    """The kind of a row that has had several versions, by its key."""
    pk, sk = item["pk"]["S"], item["sk"]["S"]
    if not pk.startswith("TICKET#"):
        return None
    return "ticket" if sk == "T" else "step" if sk.startswith("S#") else None
