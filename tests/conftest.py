"""What a test prints or logs is searched for the canary; one sighting fails the session. Drawn examples have fixed seeds."""

import pytest
from hypothesis import settings

from tests.canary import seen_in

settings.register_profile("fixed", derandomize=True, database=None)
settings.load_profile("fixed")

SIGHTED: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "teardown":
        sighted = ((title, seen_in(text)) for title, text in report.sections)
        SIGHTED.extend(f"{report.nodeid}: {title}: {', '.join(seen)}" for title, seen in sighted if seen)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if SIGHTED:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if SIGHTED:
        terminalreporter.section("the canary was sighted")
        terminalreporter.write_line("\n".join(SIGHTED))
