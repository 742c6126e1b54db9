"""How a test run is steered: `--long`, what may be skipped, and the loud list of what was.

A plugin of pytest, loaded by ``tests/conftest.py``.
"""

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Two slow cores shared with real servers: a deadline per example measures the machine, not the code.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")

DATA_BESIDE_THE_PROJECT = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the tests marked `long`")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if not item.get_closest_marker("long")]


def _must_run(item: pytest.Item) -> bool:
    """Whether skipping this test is a failure here."""
    if os.environ.get("ECOSIGHT_REQUIRE_ALL") != "1":
        return False
    if item.get_closest_marker("server"):
        return True
    return bool(item.get_closest_marker("data")) and DATA_BESIDE_THE_PROJECT.exists()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and _must_run(item):
        report.outcome = "failed"
        report.longrepr = f"skipped, and ECOSIGHT_REQUIRE_ALL=1 forbids it: {_reason(report)}"
    return report


def _reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped: dict[str, int] = {}
    for report in terminalreporter.getreports("skipped"):
        reason = _reason(report)
        skipped[reason] = skipped.get(reason, 0) + 1
    if not skipped:
        return
    terminalreporter.section("NOT TESTED HERE", sep="!", red=True, bold=True)
    for reason, count in sorted(skipped.items()):
        terminalreporter.write_line(f"{count:5d} skipped: {reason}", red=True)
