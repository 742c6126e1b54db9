"""``ecosight-trainer evaluate|compare|report|history|promote|rollback``: how good a model is, and which is in use.

Facts go to standard output, progress and what is wrong to standard error. Exit codes: 0 done, 1 not done or something
to correct, 3 refused by the gate, 130 interrupted.
"""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainer.failing import fail, said, who

if TYPE_CHECKING:
    from trainer.judging.metrics import Metrics
    from trainer.judging.sounds import Sounds
    from trainer.models.choice import Change

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Models: how good, which is in use, what came before."
)

Models = Annotated[Path, typer.Option("--models", help="Folder of models.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document, for scripts.")]
Reason = Annotated[str, typer.Option(help="Why; it stays in the log.")]
MODELS = Path("models")
GATE_CLOSED = 3
INTERRUPTED = 130
SHOWN = 20
WORTH_WORKERS_S = 600.0
"""Of sound; less is heard sooner in one process."""


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="Model file, or a version in --models.")],
    data: Annotated[Path, typer.Argument(help="Folder with sounds.json, or of recordings; or one annotated sound.")],
    models: Models = MODELS,
    target: Annotated[str | None, typer.Option(help="Alert label to judge; the model's first if not given.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for performance_metrics.json, report and excerpts.")] = None,
    as_json: Json = False,
) -> None:
    """Judge a model on continuous sound, by events, through the device's own detector."""
    from trainer.judging.hardest import write_excerpts
    from trainer.report.page import METRICS, write_report

    with _clear_errors("evaluate"):
        metrics, sounds = _judged(models, model, data, target)
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            metrics = write_excerpts(metrics, sounds.sounds, out)
            (out / METRICS).write_text(metrics.model_dump_json(indent=1) + "\n", encoding="utf-8")
            _say(f"report: {write_report(out)}")
    from trainer.models.tables import metrics_rows

    typer.echo(metrics.model_dump_json(indent=1) if as_json else metrics_rows(metrics))


@app.command()
def compare(
    a: Annotated[str, typer.Argument(help="Model file, performance_metrics.json, or a version in --models.")],
    b: Annotated[str, typer.Argument(help="The other one.")],
    data: Annotated[
        Path | None, typer.Option(help="Judge both on this; else what is stored of them is compared.")
    ] = None,
    models: Models = MODELS,
    target: Annotated[str | None, typer.Option(help="Alert label to judge, with --data.")] = None,
    as_json: Json = False,
) -> None:
    """Two models on the same sounds: differences with their intervals, paired by recording."""
    from trainer.judging.comparison import compare as compare_metrics
    from trainer.models.tables import comparison_document, comparison_rows

    with _clear_errors("compare"):
        both = [_stored(models, name) if data is None else _judged(models, name, data, target)[0] for name in (a, b)]
        found = compare_metrics(*both)
    if as_json:
        _print_json(comparison_document(found))
    else:
        typer.echo(comparison_rows(found))


@app.command()
def report(
    version: Annotated[str, typer.Argument(help="A version in --models, or a folder with performance_metrics.json.")],
    out: Annotated[Path | None, typer.Option(help="The page to write; a stored one is never changed.")] = None,
    models: Models = MODELS,
) -> None:
    """The page about a model: where it is, or made again with --out."""
    from trainer.models.choice import METRICS, read_metrics
    from trainer.models.store import Store, StoreError
    from trainer.report.page import NAME, write_report

    with _clear_errors("report"):
        folder = Path(version) if (Path(version) / METRICS).is_file() else Store(models).folder(version)
        if out is not None:
            read_metrics(folder / METRICS)
            page = write_report(folder, out)
        else:
            page = folder / NAME
            if not page.is_file():
                raise StoreError(f"{page} is not there; make it with --out")
    typer.echo(page)


@app.command()
def history(models: Models = MODELS, as_json: Json = False) -> None:
    """What was done, oldest first, and which model is in use."""
    from trainer.models.log import read
    from trainer.models.store import Store
    from trainer.models.tables import history_document, history_rows

    store = Store(models)
    with _clear_errors("history"):
        entries = read(models)
    if as_json:
        _print_json(history_document(store, entries))
        return
    if entries:
        typer.echo(history_rows(entries) + "\n")
    unlogged = sorted(set(store.versions()) - {entry.version for entry in entries})
    if unlogged:
        typer.echo(f"not in the log: {', '.join(unlogged)}")
    typer.echo(f"in use: {store.current() or 'none'}")
    changes = [entry for entry in entries if entry.action in ("promoted", "rolled back")]
    if changes and changes[-1].version != store.current():
        _say(f"the log says that {changes[-1].version} is in use: its last change was cut short; do it again")


@app.command()
def promote(
    version: Annotated[str, typer.Argument(help="Version, or the beginning of its digest.")],
    models: Models = MODELS,
    force: Annotated[bool, typer.Option("--force", help="Past a closed gate. The log keeps it for ever.")] = False,
    reason: Reason = "",
) -> None:
    """Put a model to use, if the gate lets it follow the one in use."""
    from trainer.models.choice import promote as put_to_use
    from trainer.models.store import Store

    with _clear_errors("promote"):
        if force and not reason:
            fail("promote", "--force wants a --reason; it stays in the log")
        change = put_to_use(Store(models), version, datetime.now(UTC), who(), reason, force)
    _tell(change, models)
    if change.entry.forced and change.entry.gate is not None:
        broken = [rule.name for rule in change.entry.gate.rules if not rule.passed]
        _say(f"forced past {len(broken)} rules of the gate: {'; '.join(broken)}")


@app.command()
def rollback(
    to: Annotated[str | None, typer.Option(help="Version; the one in use before if not given.")] = None,
    models: Models = MODELS,
    reason: Reason = "",
) -> None:
    """Go back to the model that was in use before."""
    from trainer.models.choice import rollback as go_back
    from trainer.models.store import Store

    with _clear_errors("rollback"):
        change = go_back(Store(models), datetime.now(UTC), to, who(), reason)
    _tell(change, models)


def _judged(models: Path, name: str, data: Path, target: str | None) -> tuple["Metrics", "Sounds"]:
    """Judge a model that is named, telling how far it is."""
    from trainer.judging.evaluate import JudgedFile
    from trainer.judging.evaluate import evaluate as judge
    from trainer.judging.hearing import seconds_of
    from trainer.judging.plain import from_path
    from trainer.models.package import model_file_of

    path = model_file_of(name, models)
    file = JudgedFile.read(path)
    sounds, refused = from_path(data, target or file.model.manifest.alert_labels[0])
    for one in refused[:SHOWN]:
        _say(f"not heard: {one.path}: {one.reason}")
    if len(refused) > SHOWN:
        _say(f"not heard: {len(refused) - SHOWN} more")
    total_s = sum(map(seconds_of, sounds))
    # Workers take a second to begin.
    processes = 1 if total_s < WORTH_WORKERS_S else None
    with _progress(f"{path.name}: listening", total_s) as progress:
        return judge(file, sounds, target=target, progress=progress, processes=processes).metrics, sounds


def _stored(models: Path, name: str) -> "Metrics":
    from trainer.models.choice import METRICS, metrics_of, read_metrics
    from trainer.models.store import Store, StoreError

    path = Path(name)
    if not path.is_file():
        return metrics_of(Store(models), name)
    if path.suffix == ".json":
        return read_metrics(path)
    if (path.parent / METRICS).is_file():
        return read_metrics(path.parent / METRICS)
    raise StoreError(f"{path} has no {METRICS} beside it; judge it now with --data")


def _tell(change: "Change", models: Path) -> None:
    before = f", before {change.before}" if change.before else ""
    typer.echo(f"in use: {change.now}{before}")
    typer.echo(f"model: {models / 'current' / 'model.tflite'}")


@contextlib.contextmanager
def _clear_errors(command: str) -> Iterator[None]:
    """What a person can mend is one message, never a traceback."""
    from edge.audio.source import SourceError
    from edge.detection.model_file import ModelFileError
    from trainer.data.sources import FolderError
    from trainer.judging.comparison import NotComparableError
    from trainer.judging.sounds import SoundError
    from trainer.models.choice import RefusedError
    from trainer.models.log import LogError
    from trainer.models.store import StoreError

    try:
        yield
    except RefusedError as error:
        fail(command, str(error), GATE_CLOSED)
    except (StoreError, LogError, SoundError, FolderError, NotComparableError, ModelFileError, SourceError) as error:
        fail(command, str(error))
    except KeyboardInterrupt:
        fail(command, "interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader of a pipe has left (`… | head`).
        sys.stderr.close()
        raise typer.Exit(0) from None
    except OSError as error:
        fail(command, said(error))


@contextlib.contextmanager
def _progress(what: str, total: float) -> Iterator[Callable[[float], None]]:
    """A bar on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task(what, total=total)
        yield lambda heard_s: bars.update(task, completed=heard_s)


def _say(message: str) -> None:
    typer.echo(message, err=True)


def _print_json(document: Any) -> None:
    typer.echo(json.dumps(document, indent=1))
