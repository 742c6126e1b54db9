"""How a run tells of itself: steps, how far each is, and what a person should know. All of it on standard error."""

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from trainer.progress import Progress, bars, silent

SHOWN = 5
"""Lines of a list."""


@dataclass
class Telling:
    """Told what happens; keeps what is to be said in the end, too."""

    progress: Progress = silent
    quiet: bool = False
    notes: list[str] = field(default_factory=list)
    """What a reader of the result must know."""
    seconds: dict[str, float] = field(default_factory=dict)
    """By step."""

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        """The time that it takes is kept."""
        began = time.monotonic()
        self.say(f"== {title}")
        yield
        self.seconds[title] = round(time.monotonic() - began, 2)

    def note(self, text: str) -> None:
        """Said now, and kept for the result."""
        if text not in self.notes:
            self.notes.append(text)
            self.say(f"note: {text}")

    def say(self, text: str) -> None:
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)

    def show(self, title: str, lines: list[str]) -> None:
        """A list, of which the first few are shown."""
        if lines:
            more = [f"  … and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
            self.say("\n".join([f"{title} ({len(lines)}):", *(f"  {line}" for line in lines[:SHOWN]), *more]))


@contextlib.contextmanager
def on_the_screen() -> Iterator[Telling]:
    """With bars where standard error is a terminal."""
    with bars() as progress:
        yield Telling(progress)


def summary(document: dict[str, Any]) -> str:
    """Facts of a run, a line each, that a script may cut: a name, and what it is."""
    width = max(map(len, document), default=0)
    return "\n".join(f"{name:{width}}  {value}" for name, value in document.items())
