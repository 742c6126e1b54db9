"""A list of small checks, each run only when those that it needs went well."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "fail", "not_tried"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a check found: what was looked at with its value, and for trouble the next step."""

    state: Literal["ok", "warn", "fail"]
    detail: str
    next_step: str = ""


def good(detail: str) -> Outcome:
    return Outcome("ok", detail)


def doubtful(detail: str, next_step: str) -> Outcome:
    """Works, but somebody should know."""
    return Outcome("warn", detail, next_step)


def bad(detail: str, next_step: str) -> Outcome:
    return Outcome("fail", detail, next_step)


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    run: Callable[[], Outcome]
    needs: tuple[str, ...] = ()
    """Names of earlier checks without which this one could only repeat their failure."""


@dataclass(frozen=True, slots=True)
class Result:
    name: str
    state: State
    detail: str
    next_step: str = ""
    seconds: float = 0.0


def examine(checks: Iterable[Check], on_result: Callable[[Result], None] = lambda result: None) -> list[Result]:
    """Run the checks in their order. An exception that a check did not expect is its failure, never a traceback."""
    results: dict[str, Result] = {}
    for check in checks:
        missing = next((name for name in check.needs if results[name].state in ("fail", "not_tried")), None)
        if missing is not None:
            result = Result(check.name, "not_tried", f"not tried: {missing} must work first")
        else:
            began_s = time.monotonic()
            try:
                outcome = check.run()
            except Exception as error:
                outcome = bad(f"{type(error).__name__}: {error}", "this was not foreseen: please report it")
            seconds = time.monotonic() - began_s
            result = Result(check.name, outcome.state, outcome.detail, outcome.next_step, seconds)
        results[check.name] = result
        on_result(result)
    return list(results.values())
