"""Every microphone of this machine: what to paste into the configuration, and whether it hears.

audio:
  device: usb:17a0:0305:S12345
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.audio.identity import Card, list_cards, stable_name
from edge.audio.microphone import Microphone
from edge.audio.source import Source, SourceError, SourceLost
from edge.settings import AudioSettings

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

QUIETEST_DBFS = -90.0
BAR_CELLS = 20
REFRESH_PER_S = 8


@dataclass(slots=True)
class Row:
    """One microphone in the table."""

    device: str
    """What to paste."""
    what: str
    also: str
    """Other names that work."""
    chosen: bool
    """Whether the configuration selects it."""
    meter: "Meter"
    state: str = ""


class Meter:
    """A sink that only measures."""

    def __init__(self) -> None:
        self.frames = 0
        self.peak_dbfs = -math.inf
        """Highest of the newest block."""
        self.highest_dbfs = -math.inf

    def write(self, frames: NDArray[np.float32]) -> None:
        """Mono float32 ``[n]``."""
        if len(frames):
            self.frames += len(frames)
            peak = float(np.abs(frames).max())
            self.peak_dbfs = 20 * math.log10(peak) if peak > 0 else -math.inf
            self.highest_dbfs = max(self.highest_dbfs, self.peak_dbfs)

    def gap(self, frames: int, reason: str) -> None:
        """Nothing to measure."""

    @property
    def bar(self) -> str:
        """The level as text, ``-90`` to ``0`` dBFS."""
        share = (max(self.peak_dbfs, QUIETEST_DBFS) - QUIETEST_DBFS) / -QUIETEST_DBFS
        full = round(share * BAR_CELLS)
        return "█" * full + "·" * (BAR_CELLS - full)


def show_devices(
    settings: AudioSettings,
    seconds: float,
    root: Path = Path("/"),
    console: "Console | None" = None,
    open_microphone: Callable[[AudioSettings], Source] = Microphone,
) -> int:
    """Print the table, listening to each microphone for ``seconds`` (0: not at all).

    Returns:
        The exit code: 0 if a microphone is there and, when listened to, one of them hears.
    """
    from rich.console import Console
    from rich.live import Live

    console = console or Console()
    rows = list_rows(settings, list_cards(root))
    with Live(_table(rows), console=console, refresh_per_second=REFRESH_PER_S) as live:
        for row in rows if seconds > 0 else ():
            chosen = settings.model_copy(update={"source": "microphone", "device": row.device})
            _listen(row, open_microphone(chosen), seconds, lambda: live.update(_table(rows)))
    if not console.is_terminal:
        console.line()  # which Live leaves out there
    console.print("What stands under audio.device goes into the configuration.", soft_wrap=True)
    if len(rows) == 1:
        console.print(
            "No sound card that records is plugged in; only what the system calls its default is listed.",
            soft_wrap=True,
        )
    hears = any(row.meter.highest_dbfs > -math.inf for row in rows)
    return 0 if hears or (seconds <= 0 and len(rows) > 1) else 1


def list_rows(settings: AudioSettings, cards: Sequence[Card]) -> list[Row]:
    """A row for each card that records, and one for the system's default."""
    rows = []
    for card in cards:
        device = stable_name(card, cards)
        others = (card.usb, card.usb_port, card.card)
        # A name that two microphones share would be refused.
        also = [n for n in others if n not in ("", device) and sum(other.answers_to(n) for other in cards) == 1]
        chosen = settings.device != "default" and card.answers_to(settings.device)
        rows.append(Row(device, card.product_name or card.name, "\n".join(also), chosen, Meter()))
    rows.append(Row("default", "what the system prefers", "", settings.device == "default", Meter()))
    return rows


def _listen(row: Row, source: Source, seconds: float, show: Callable[[], None]) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=_run, args=(row, source, stop), name="level-meter", daemon=True)
    thread.start()
    deadline_s = time.monotonic() + seconds
    while thread.is_alive() and time.monotonic() < deadline_s:
        thread.join(1 / REFRESH_PER_S)
        show()
    stop.set()
    thread.join(5.0)
    if thread.is_alive():
        row.state = "hangs when it is closed"
    elif not row.state:
        row.state = _verdict(row.meter)
    show()


def _run(row: Row, source: Source, stop: threading.Event) -> None:
    try:
        source.run(row.meter, stop)
    except (SourceLost, SourceError) as error:
        row.state = str(error)


def _verdict(meter: Meter) -> str:
    if not meter.frames:
        return "gives no samples"
    if meter.highest_dbfs == -math.inf:
        return "gives only zeros (muted?)"
    return f"hears, peak {meter.highest_dbfs:.0f} dBFS" + (" (too loud)" if meter.highest_dbfs > -0.1 else "")


def _table(rows: Sequence[Row]) -> "Table":
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="Microphones")
    table.add_column("microphone")
    table.add_column("audio.device", style="bold", no_wrap=True)
    table.add_column("or", style="dim")
    table.add_column("level", no_wrap=True)
    table.add_column("state")
    for row in rows:
        name = escape(row.what) + (" [green](configured)[/]" if row.chosen else "")
        bar = row.meter.bar if row.meter.frames else ""
        table.add_row(name, escape(row.device), escape(row.also), bar, escape(row.state))
    return table
