"""Prints the access matrix after the tests and keeps it: how many were asked, and what each kind of caller was answered."""

from collections import Counter

import pytest

from tests.support import ROOT

KEPT = ROOT / ".local" / "matrix.txt"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [one for kind in ("passed", "failed") for one in terminalreporter.stats.get(kind, [])]
    rows = [value for one in reports for name, value in getattr(one, "user_properties", []) if name == "matrix"]
    if not rows:
        return
    total: Counter[tuple[str, int]] = sum((Counter(counts) for _, counts, _ in rows), Counter())
    kinds = list(dict.fromkeys(kind for kind, _ in total))
    statuses = sorted({status for _, status in total})
    lines = [
        f"access matrix: {total.total()} cells of {len(rows)} questions by {len(kinds)} kinds of caller, "
        f"{sum(wrong for *_, wrong in rows)} violations",
        "".join(f"{one:>20}" if one == "" else f"{one:>8}" for one in ("", *statuses)),
        *(f"{kind:>20}" + "".join(f"{total[kind, status]:>8}" for status in statuses) for kind in kinds),
    ]
    terminalreporter.section("access matrix")
    terminalreporter.write_line("\n".join(lines))
    lines += [f"{wrong} violations in {sum(counts.values())} cells: {row}" for row, counts, wrong in rows]
    KEPT.parent.mkdir(exist_ok=True)
    KEPT.write_text("\n".join(lines) + "\n", encoding="utf-8")
