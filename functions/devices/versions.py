"""The registry of the devices table's row versions.

state 1 → 2    what was the last reading's alone becomes the device's state: it was heard when that reading came. The
               rest (class, conditions, watch, revision) is not known of one that has said nothing since: it begins
               as the state of a device that was registered a moment ago
"""

from linli.versions import Item, Upcasts


def _heard(item: Item) -> Item:
    kept = {name: value for name, value in item.items() if name not in ("at_key", "received_at")}
    return kept | {"heard_at": item["received_at"]}


UPCASTS: Upcasts = {("state", 1): _heard}
