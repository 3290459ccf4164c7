"""A real hourly water flow (river 0.26.1, BSD-3, see infra/seed/README.md), moved in time so that its end is now."""

import csv
from datetime import UTC, datetime, timedelta
from typing import Any

from infra.local.seed import SEED


def readings(count: int, *, until: datetime) -> list[dict[str, Any]]:
    """The last `count` readings as telemetry carries them: device time, sequence, flow in L/s."""
    with (SEED / "water-flow-hourly.csv").open(encoding="utf-8", newline="") as file:
        rows = [(datetime.fromisoformat(row["Time"]), row["Water flow [l/s]"]) for row in csv.DictReader(file)]
    known = [(at, float(flow)) for at, flow in rows if flow][-count:]
    moved: timedelta = until - known[-1][0]
    return [
        {"t": (at + moved).astimezone(UTC).isoformat(), "seq": number, "v": {"flow": flow}}
        for number, (at, flow) in enumerate(known, 1)
    ]
