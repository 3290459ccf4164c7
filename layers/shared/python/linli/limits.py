"""How often one principal may call a route: a counter a window in the context's own table (docs/adr/0020-rate-limits.md).

    RATE#what#subject | 2026-11-23T01:00:00.000Z    calls since then; the next window has a row of its own

Nothing depends on old rows being deleted; `expires_at` only tidies up.
"""

import math
from datetime import UTC, datetime, timedelta

from pynamodb.attributes import NumberAttribute
from pynamodb.exceptions import UpdateError
from pynamodb.expressions.update import Action

from linli.clock import Clock, iso, utc_now
from linli.errors import TooMany
from linli.table import Row, Table, condition_failed

RATE = "RATE#"
WINDOW = timedelta(minutes=1)


class RateRow(Row):
    calls = NumberAttribute()
    expires_at = NumberAttribute()


class Limit:
    """At most `calls` of one subject in a minute of the clock; `base` is the context's row class, as for `Table`."""

    def __init__(self, base: type[Row], what: str, *, calls: int, clock: Clock = utc_now) -> None:
        self.calls = calls
        self._what = what
        self._clock = clock
        self._table = Table(base)
        self._row: type[RateRow] = type("Rate", (RateRow, base), {})

    def count(self, subject: str) -> None:
        """Count a call. Raises TooMany; while the table does not answer, nobody gets past."""
        now = self._clock()
        start = datetime.fromtimestamp(now.timestamp() // WINDOW.total_seconds() * WINDOW.total_seconds(), UTC)
        end = start + WINDOW
        counted: list[Action] = [self._row.calls.add(1), self._row.expires_at.set(int((end + WINDOW).timestamp()))]
        row = self._table.rows(self._row)(f"{RATE}{self._what}#{subject}", iso(start))
        try:
            row.update(counted, condition=self._row.calls.does_not_exist() | (self._row.calls < self.calls))
        except UpdateError as error:
            if not condition_failed(error):
                raise
            raise TooMany(seconds=math.ceil((end - now).total_seconds())) from error
