"""``ecosight-edge updates check``: one look by hand, in the same process that the daemon starts, as strict.

It keeps nothing: what the daemon has seen of the repository is the daemon's, and stays as it is.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from edge.redaction import without_passwords
from edge.settings import load
from edge.updates.offer import KINDS, Failure, Line, Offer, Request

_COMMAND = (sys.executable, "-P", "-m", "edge.updates.fetching.fetch")


class LookFailed(RuntimeError):  # noqa: N818 -- reads as what happened
    """The text says why, and what to do."""


def look(config: Path | None) -> tuple[str, Offer, list[Failure]]:
    """The repository's address, what it offers, and what it offers in vain.

    Raises:
        LookFailed: nothing can be said.
        SettingsError: the configuration.
    """
    settings = load(config)
    with tempfile.TemporaryDirectory() as folder:
        request = Request(into=Path(folder) / "download", metadata=Path(folder) / "metadata")
        done = subprocess.run(
            [*_COMMAND, *([] if config is None else ["--config", str(config)])],
            input=request.model_dump_json() + "\n",
            capture_output=True,
            text=True,
            check=False,
        )
    lines = [Line.model_validate_json(line) for line in done.stdout.splitlines()]
    failures = [line.error for line in lines if line.error]
    offer = next((line.offer for line in lines if line.offer), None)
    if offer is None:
        raise LookFailed(
            failures[0].text if failures else f"the look at the repository ended with {done.stderr[-500:]}"
        )
    return without_passwords(settings.updates.url or ""), offer, failures


def to_table(seen: tuple[str, Offer, list[Failure]]) -> str:
    """For people."""
    from rich.console import Console
    from rich.table import Table

    url, offer, failures = seen
    refused = {failure.kind: failure.text for failure in failures}
    table = Table(title=url, title_justify="left")
    for heading, right in (("", False), ("offered", False), ("number", True), ("floor", True), ("bytes", True)):
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for kind in KINDS:
        release, floor = offer.of(kind), str(getattr(offer.floor, kind))
        if release is None:
            table.add_row(kind, f"refused: {refused[kind]}" if kind in refused else "nothing", "", floor, "")
        else:
            table.add_row(kind, f"{release.name} {release.version}", str(release.number), floor, f"{release.length:,}")
    console = Console(width=100)
    with console.capture() as captured:
        console.print(table)
    return captured.get()
