"""The kernel's calendar, made from the seed: the exceptions of each year to Monday-Friday.

`python -m infra.local.workdays` writes it; `--check` fails if what is in the repository differs, and warns, from
November on, when next year is missing.
"""

import csv
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from linli.clock import BEIJING, utc_now
from linli.workcalendar import WORKDAYS, national

ROOT = Path(__file__).resolve().parents[2]
SEED = ROOT / "infra" / "seed"
PUBLISHED_BY = 11
"""The State Council's notice for the next year usually comes by November."""
SOURCE = "State Council holiday notices, from npm chinese-days 1.5.7 (MIT, Copyright (c) 2024 Yawei sun)"
HOURS = [["08:00", "12:00"], ["14:00", "17:30"]]


def calendar() -> str:
    """What `workdays.json` should hold; the version changes with the content.

    Raises ValueError unless a year that is there is there with each of its days once.
    """
    rows = list(_rows())
    _check_whole(Counter(date.fromisoformat(row["date"]) for row in rows))
    years: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        _add(years.setdefault(row["date"][:4], {"off": [], "work": []}), row)
    digest = hashlib.sha256(json.dumps([HOURS, years], sort_keys=True).encode()).hexdigest()
    version = f"cn-{min(years)}-{max(years)}-{digest[:8]}"
    # One line a year keeps a new year's change readable.
    body = ",\n".join(f"  {json.dumps(year)}: {json.dumps(years[year])}" for year in sorted(years))
    head = {"version": version, "source": SOURCE, "hours": HOURS}
    lines = [f" {json.dumps(name)}: {json.dumps(value)}," for name, value in head.items()]
    return "\n".join(["{", *lines, ' "years": {', body, " }", "}"]) + "\n"


def missing(years: Iterable[int], today: date) -> list[int]:
    """The years that are wanted by now and not known."""
    wanted = {today.year, today.year + (today.month >= PUBLISHED_BY)}
    return sorted(wanted - set(years))


def _rows() -> Iterator[dict[str, Any]]:
    for path in sorted(SEED.glob("cn-workdays-*.csv")):
        with path.open(encoding="utf-8") as file:
            yield from csv.DictReader(file)


def _check_whole(days: Counter[date]) -> None:
    for year in sorted({day.year for day in days}):
        length = (date(year + 1, 1, 1) - date(year, 1, 1)).days
        wrong = [day for day in (date(year, 1, 1) + timedelta(n) for n in range(length)) if days[day] != 1]
        if wrong:
            raise ValueError(f"{len(wrong)} days of {year} are not there once, the first of them {wrong[0]}")


def _add(year: dict[str, list[str]], row: dict[str, Any]) -> None:
    day = date.fromisoformat(row["date"])
    works = row["is_workday"] == "1"
    if works != (day.weekday() < 5):
        year["work" if works else "off"].append(row["date"][5:])


def main() -> int:
    text = calendar()
    if "--check" not in sys.argv:
        WORKDAYS.write_text(text, encoding="utf-8")
        return 0
    if not WORKDAYS.exists() or WORKDAYS.read_text(encoding="utf-8") != text:
        print(f"{WORKDAYS.relative_to(ROOT)} is not what the seed says: run `make calendar`")
        return 1
    for year in missing(national().years, utc_now().astimezone(BEIJING).date()):
        print(f"  calendar       WARNING: {year} is missing; no term can be counted into it (infra/seed/README.md)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
