"""What `script/bench` says at its end: every figure, its limit, and whether it holds."""

import dataclasses
import io
from typing import Any

from rich.console import Console

from edge.bench import Bench
from script.bench import FIGURES, print_table


def _lines(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    out = io.StringIO()
    print_table(Console(file=out, width=200), found)
    return {figure.what: line for figure in FIGURES for line in out.getvalue().splitlines() if figure.what in line}


def test_a_figure_within_its_limit_is_ok_and_one_beyond_it_a_miss() -> None:
    lines = _lines({"bench": {"daemon_ratio": 0.6, "first_window_s": 1.98, "daemon_cpu_ms_per_audio_s": 3.0}})
    assert (
        "0.600" in lines["daemon ÷ plain loop, median of ten turns"]
        and "ok" in lines["daemon ÷ plain loop, median of ten turns"]
    )
    assert "MISS" in lines["first window scored after the start of the process, s"]
    told = lines["CPU of the whole daemon, ms per second of audio"]
    assert "3.000" in told and "ok" not in told and "MISS" not in told


def test_what_could_not_be_measured_is_neither_ok_nor_a_miss() -> None:
    lines = _lines({"bench": {"daemon_ratio": None}})
    assert len(lines) >= len(FIGURES) - 1, "all but the soak, which is only asked for with --long"
    for line in lines.values():
        assert "not measured" in line
        assert "ok" not in line and "MISS" not in line


def test_the_benchs_figures_are_those_that_it_has() -> None:
    wanted = {figure.key for figure in FIGURES if figure.measurement == "bench"}
    assert wanted <= {field.name for field in dataclasses.fields(Bench)}
