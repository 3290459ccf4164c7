"""Load division books: `python -m identity.load anhui-divisions.csv [anhui-township-crosswalk.csv]`.

The first file is the NBS list, the second the MCA townships set against it (see infra/seed/README.md).
"""

import argparse
import csv
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Protocol, cast

from identity.domain import BOOKS, DEFAULT_BOOK, Division, Kind, township_kind
from identity.store import DivisionStore
from linli.clock import Clock, utc_now

BATCH = 25
"""Rows of one BatchWriteItem call, DynamoDB's limit."""
MCA_BOOK = "mca-2026"


class Store(Protocol):
    def fingerprint(self, book: str) -> str | None: ...
    def write(self, divisions: Sequence[Division]) -> int: ...
    def mark_loaded(self, book: str, fingerprint: str, count: int, at: datetime) -> None: ...


def nbs_rows(path: Path) -> list[Division]:
    return [
        _checked(
            Division(
                book=DEFAULT_BOOK,
                code=row["code"],
                level=int(row["level"]),
                kind=cast(Kind, row["kind"]),
                name=row["name"],
                parent=row["parent"] or None,
                valid_from=BOOKS[DEFAULT_BOOK].valid_from,
            )
        )
        for row in _csv(path)
    ]


def mca_rows(path: Path, nbs: Iterable[Division]) -> list[Division]:
    """The MCA townships, and above them the NBS rows: the two lists were joined on the county's code."""
    valid_from = BOOKS[MCA_BOOK].valid_from
    listed = [row for row in _csv(path) if row["mca_2026_code"]]
    townships = [
        _checked(Division(MCA_BOOK, code, 4, township_kind(code), row["name"], row["county"], valid_from))
        for row in listed
        for code in [row["mca_2026_code"]]
    ]
    above = {code for township in townships for code in township.path[:-1]}
    return [replace(row, book=MCA_BOOK, valid_from=valid_from) for row in nbs if row.code in above] + townships


def load_divisions(
    store: Store,
    rows: Iterable[Division],
    *,
    workers: int = 8,
    progress: Callable[[int, int], None] | None = None,
    clock: Clock = utc_now,
) -> int:
    """How many rows were written: none if the books are loaded with this content already.

    A book is a frozen list, so rows are put and never removed. The fingerprint is written last: an interrupted load
    is simply run again.
    """
    written = 0
    for book, group in groupby(sorted(rows, key=lambda row: (row.book, row.code)), key=lambda row: row.book):
        wanted = list(group)
        fingerprint = hashlib.sha256(repr(wanted).encode()).hexdigest()
        if store.fingerprint(book) == fingerprint:
            continue
        done = 0
        with ThreadPoolExecutor(workers) as pool:
            for count in pool.map(store.write, _batches(wanted)):
                done += count
                if progress:
                    progress(done, len(wanted))
        store.mark_loaded(book, fingerprint, done, clock())
        written += done
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m identity.load", description="Load the division books.")
    parser.add_argument("divisions", type=Path, help="the NBS list")
    parser.add_argument("crosswalk", type=Path, nargs="?", help="the MCA townships")
    options = parser.parse_args(arguments)
    rows = nbs_rows(options.divisions)
    if options.crosswalk:
        rows += mca_rows(options.crosswalk, rows)
    print(f"{load_divisions(DivisionStore(), rows)} of {len(rows)} division rows written")
    return 0


def _csv(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _checked(division: Division) -> Division:
    problem = division.problem()
    if problem:
        raise ValueError(f"{division.book} {division.code}: {problem}")
    return division


def _batches(rows: Sequence[Division]) -> Iterator[Sequence[Division]]:
    return (rows[start : start + BATCH] for start in range(0, len(rows), BATCH))


if __name__ == "__main__":
    raise SystemExit(main())
