"""What may be seen of what devices say: the last state, and readings over a range."""

from dataclasses import dataclass
from datetime import datetime

from devices.domain import Reading, class_named
from devices.state import DeviceState
from devices.telemetry import States, last_state


@dataclass(frozen=True)
class SeenState:
    """`hidden`: the class's values are sensitive (L4), nobody is shown them here."""

    last: Reading | None
    hidden: bool
    conditions: tuple[str, ...]


def seen_state(state: DeviceState, *, store: States, now: datetime) -> SeenState:
    hidden = class_named(state.device_class).privacy == "L4"
    last = None if hidden else last_state(state, store=store, now=now)
    return SeenState(last, hidden, tuple(sorted(name for name in state.conditions if state.active(name))))
