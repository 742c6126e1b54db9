"""Bars on standard error, one for each kind of work, with an estimate of what is left.

    with bars() as progress:
        progress("reading", 3, 20)

Where standard error is no terminal there are none: a log is no place for them.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import TaskID

Progress = Callable[[str, int, int], None]
"""What is being done, how much of it is done, of how much."""


def silent(what: str, done: int, total: int) -> None:
    """For whoever does not want to know."""


@contextlib.contextmanager
def bars() -> Iterator[Progress]:
    """While this is entered, calls of what it gives move the bars."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as shown:
        tasks: dict[str, TaskID] = {}

        def move(what: str, done: int, total: int) -> None:
            if total <= 0:
                return
            if what not in tasks:
                tasks[what] = shown.add_task(what, total=total)
            shown.update(tasks[what], completed=done, total=total)
            if done >= total:
                # The same kind of work may come again, and then begins anew.
                shown.remove_task(tasks.pop(what))

        yield move
