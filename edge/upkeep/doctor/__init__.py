"""``ecosight-edge doctor``: everything between the configuration and the storage, tried in the order in which one
thing needs another. What cannot work for want of an earlier one is not tried, so the first failure is the cause.

    code = run_doctor(Path("/etc/ecosight/edge.yaml"))    # prints a table; 0: works, 1: something fails
"""

import functools
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from edge.upkeep.doctor.configuration import CONFIGURATION, check_configuration
from edge.upkeep.doctor.credentials import UNIT, as_in_the_unit
from edge.upkeep.doctor.examination import Check, Outcome, Result, examine, good

if TYPE_CHECKING:
    from rich.console import Console

    from edge.settings import EdgeSettings
    from edge.upkeep.doctor.broker import Broker

EXIT_FAILURE = 1
AFTER_CONFIGURATION = ("model", "microphone", "clock", "disk", "broker", "storage")
STYLE = {"ok": "green", "warn": "yellow", "fail": "bold red", "not_tried": "dim"}
WORD = {"ok": "good", "warn": "look", "fail": "FAILS", "not_tried": "-"}


def run_doctor(config: Path | None, console: "Console | None" = None, beside: bool = False) -> int:
    """Examine, print a table, and return the exit code. ``beside``: only what leaves a running daemon in peace."""
    with as_in_the_unit(unit=unit_of(config)):
        if beside:
            from edge.upkeep.doctor.beside import diagnose_beside

            results = diagnose_beside(config)  # before anything is loaded that its children would carry
        from rich.console import Console

        console = console or Console()
        if not beside:
            with console.status("examining …") as status:
                results = diagnose(config, lambda result: status.update(f"{result.name}: {WORD[result.state]} …"))
    _print(console, results)
    return exit_code(results)


def diagnose(config: Path | None, on_result: Callable[[Result], None] = lambda result: None) -> list[Result]:
    """All checks, in their order."""
    from edge.upkeep.doctor.broker import Broker

    outcome, settings = check_configuration(config)
    first = Check(CONFIGURATION, lambda: outcome)
    if settings is None:
        later = [Check(name, lambda: good(""), needs=(CONFIGURATION,)) for name in AFTER_CONFIGURATION]
        return examine([first, *later], on_result)
    broker = Broker(settings, _synchronised)
    try:
        return examine([first, *checks(settings, broker)], on_result)
    finally:
        broker.close()


def checks(settings: "EdgeSettings", broker: "Broker") -> list[Check]:
    """What is looked at, in order, with what each needs."""
    from edge.upkeep.doctor.device import check_clock, check_disk, check_model
    from edge.upkeep.doctor.microphone import check_microphone
    from edge.upkeep.doctor.store import store_of

    found = [
        Check("model", functools.partial(check_model, settings)),
        Check("microphone", functools.partial(check_microphone, settings)),
        Check("clock", lambda: check_clock(datetime.now(UTC), _synchronised())),
        Check("disk", functools.partial(check_disk, settings)),
        Check("broker: DNS", broker.resolve),
        Check("broker: TCP", broker.reach, needs=("broker: DNS",)),
    ]
    if settings.mqtt.tls:
        found.append(Check("broker: TLS", broker.secure, needs=("broker: TCP",)))
    found.append(Check("broker: MQTT", broker.connect, needs=(found[-1].name,)))
    found.append(Check("broker: publish", broker.publish, needs=("broker: MQTT",)))
    store = store_of(settings)
    if store is None:
        return [*found, Check("storage", lambda: good("none: clips stay on the device"))]
    # A folder below the state folder can only repeat what the disk said.
    below = settings.storage.kind == "folder" and settings.storage_folder.is_relative_to(settings.state_dir)
    return [
        *found,
        Check("storage: put", store.put, needs=("disk",) if below else ()),
        Check("storage: get", store.get, needs=("storage: put",)),
        Check("storage: delete", store.delete, needs=("storage: put",)),
    ]


def exit_code(results: list[Result]) -> int:
    """0 if nothing fails; what wants a look does not count."""
    return EXIT_FAILURE if any(result.state == "fail" for result in results) else 0


def unit_of(config: Path | None) -> str:
    """Whose credentials belong to a configuration: ``/etc/ecosight/north.yaml`` is that of ``ecosight-edge@north``."""
    return UNIT if config is None or config.stem == "edge" else f"{UNIT}-{config.stem}"


def _synchronised() -> bool:
    from edge.audio.system_time import SystemTime

    return SystemTime().synchronised()


def _print(console: "Console", results: list[Result]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    table.add_column("check", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("what was found, and what to do", overflow="fold")
    for result in results:
        style = STYLE[result.state]
        found = Text(result.detail, style="dim" if result.state == "not_tried" else "")
        if result.next_step:
            found.append(f"\n→ {result.next_step}", style=style)
        table.add_row(result.name, Text(WORD[result.state], style=style), found)
    console.print(table)
    failures = sum(result.state == "fail" for result in results)
    looks = sum(result.state == "warn" for result in results)
    if failures:
        console.print(f"{failures} failed; begin with the first", style=STYLE["fail"])
    else:
        console.print("everything works" + (f"; {looks} to look at" if looks else ""), style=STYLE["ok"])


__all__ = ["Check", "Outcome", "Result", "diagnose", "exit_code", "run_doctor"]
