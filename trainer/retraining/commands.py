"""``ecosight-trainer retrain``: from recordings to a model in use.

Facts go to standard output, progress and what is wrong to standard error. Exit codes:

    0    the model is packaged and in use
    1    bad input, no space, another run in the way: nothing was packaged
    3    the model is packaged, and the gate refused it
    4    nothing to do (only with --trigger)
    130  interrupted; run it again to go on
"""

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainer.failing import fail, said, who
from trainer.retraining.request import Licence, Request, Trigger

if TYPE_CHECKING:
    from trainer.retraining.pipeline import Outcome

GATE_CLOSED = 3
NOTHING_TO_DO = 4
INTERRUPTED = 130


def retrain(
    data: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of recordings (MANIFEST.csv, or extracted_audio/<class>/…); may be given again."),
    ] = None,
    bucket: Annotated[
        str | None,
        typer.Option(help="Download this bucket first, into --data (recordings/ if not given); keys from AWS_*."),
    ] = None,
    models: Annotated[Path, typer.Option(help="Folder of models.")] = Path("models"),
    catalogue: Annotated[Path, typer.Option(help="Folder of the catalogue.")] = Path("catalogue"),
    cache: Annotated[Path, typer.Option(help="Folder for what can be made again: embeddings, mixes.")] = Path(".cache"),
    backbone: Annotated[
        Path | None,
        typer.Option(
            help="The network: a backbone, a model file, Google's yamnet.tflite; else that of the model that ships."
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="What the model is called.")] = "gun-shot",
    variants: Annotated[int, typer.Option(min=0, help="Renderings of each clip in the field; of shots thrice.")] = 5,
    own: Annotated[
        bool, typer.Option("--own", help="Recordings of which nothing says a licence are your own; else nobody knows.")
    ] = False,
    licence: Annotated[
        Licence, typer.Option(help="shippable: learn only from clips whose licence lets a model be passed on.")
    ] = "any",
    per_hour: Annotated[
        float, typer.Option(min=0.01, help="False alarms an hour of the field's sounds to set the threshold for.")
    ] = 3.0,
    veto_radius: Annotated[
        float | None,
        typer.Option(
            min=0.001, max=0.5, help="Let rangers mark false alarms: events this near to one (cosine) are not sent."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all that is drawn.")] = 1,
    processes: Annotated[int | None, typer.Option(min=1, help="One per core if not given.")] = None,
    cluster: Annotated[str | None, typer.Option(help="Embed on the Dask cluster at tcp://….")] = None,
    ablations: Annotated[
        bool, typer.Option("--ablations", help="Also learn without each effect of the field: some five times as long.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Past a closed gate. The log keeps it for ever.")] = False,
    reason: Annotated[str, typer.Option(help="Why; it stays in the log.")] = "",
    trigger: Annotated[
        bool, typer.Option("--trigger", help="Only if it is worth it: see --min-new, --every-days; else exit code 4.")
    ] = False,
    min_new: Annotated[int, typer.Option(min=1, help="With --trigger: so many new recordings make a run.")] = 100,
    every_days: Annotated[float | None, typer.Option(min=0, help="With --trigger: so many days make a run.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document, for scripts.")] = False,
) -> None:
    """Learn from recordings, judge the model on what it never heard, and put it to use if it is not worse.

    Run again after whatever cut it off, it goes on where it was. Exit codes: 0 in use, 1 not done, 3 refused by the
    gate, 4 nothing to do (--trigger), 130 interrupted.
    """
    with _clear_errors():
        if force and not reason:
            fail("retrain", "--force wants a --reason; it stays in the log")
        if not data and not bucket:
            bucket = os.environ.get("S3_BUCKET") or None
        request = Request(
            tuple(data or ()), bucket, catalogue, models, cache, backbone, name, variants, own, licence, per_hour,
            veto_radius, seed,
            cluster, processes, ablations, Trigger(min_new, every_days) if trigger else None, force, reason, who(),
        )  # fmt: skip
        from trainer.retraining.pipeline import retrain as run
        from trainer.retraining.telling import on_the_screen

        with on_the_screen() as telling:
            outcome = run(request, telling)
            seconds = telling.seconds
    document = _document(outcome, request, seconds)
    typer.echo(json.dumps(document, indent=1) if as_json else _rows(outcome, document))
    raise typer.Exit({"in use": 0, "refused": GATE_CLOSED, "nothing to do": NOTHING_TO_DO}[outcome.status])


def _document(outcome: "Outcome", request: Request, seconds: dict[str, float]) -> dict[str, Any]:
    found: dict[str, Any] = {"status": outcome.status, "reason": outcome.reason}
    if outcome.material is not None:
        found["recordings"] = len(outcome.material.recordings)
    metrics = outcome.metrics
    if metrics is None or outcome.folder is None:
        return found
    from trainer.models.package import MODEL

    gate = metrics.gate
    shipped = metrics.shipped
    return {
        **found,
        "version": outcome.version,
        "is_new": outcome.is_new,
        "before": outcome.before,
        "model": str(outcome.folder / MODEL),
        "report": str(outcome.folder / "report.html"),
        "clips": len(outcome.material.sources) if outcome.material else 0,
        "labels": dict(sorted(outcome.material.labels.items())) if outcome.material else {},
        "judged_on": f"{metrics.dataset.name} {metrics.dataset.version}",
        "recall": {f"{one.per_hour:g}": round(one.recalls.all.value, 4) for one in metrics.at_rates},
        "recall_as_it_ships": round(shipped.recalls.all.value, 4),
        "promised_per_hour": shipped.promised_per_hour,
        "measured_per_hour": round(shipped.false_alarms.per_hour, 4),
        "gate_passed": gate.passed if gate else None,
        "gate_broken": [rule.name for rule in gate.rules if not rule.passed] if gate else [],
        "forced": outcome.forced,
        "notes": metrics.notes,
        "seconds": seconds,
    }


def _rows(outcome: "Outcome", document: dict[str, Any]) -> str:
    from trainer.models.tables import metrics_rows
    from trainer.retraining.telling import summary

    if outcome.metrics is None:
        return summary({"status": outcome.status, "looked at": outcome.reason})
    gate = "passed" if document["gate_passed"] else f"closed by: {'; '.join(document['gate_broken'])}"
    told = {
        "status": outcome.status + (", forced" if document["forced"] else ""),
        "version": outcome.version + ("" if outcome.is_new else ", as it was made before"),
        "before": outcome.before or "none",
        "model": document["model"],
        "report": document["report"],
        "learned from": f"{document['clips']} clips, {len(document['labels'])} labels",
        "judged on": document["judged_on"],
        "gate": gate,
        "seconds": f"{sum(document['seconds'].values()):.0f}",
    }
    return f"{summary(told)}\n\n{metrics_rows(outcome.metrics)}"


@contextlib.contextmanager
def _clear_errors() -> Iterator[None]:
    """What a person can mend is one message, never a traceback."""
    from converters.backbone import BackboneError
    from converters.flatbuffer import GraphError
    from edge.audio.source import SourceError
    from edge.detection.model_file import ModelFileError
    from trainer.data.catalogue import CatalogueError
    from trainer.data.decoding import DecodingError
    from trainer.data.objects import BucketError
    from trainer.data.sources import FolderError
    from trainer.embedding.cluster import ClusterError
    from trainer.embedding.embedder import EmbeddingError
    from trainer.embedding.store import StoreError as CacheError
    from trainer.judging.sounds import SoundError
    from trainer.learning.learner import LearningError
    from trainer.lock import AlreadyRunningError
    from trainer.models.log import LogError
    from trainer.models.store import StoreError
    from trainer.processes import WorkerDied

    known = (
        BackboneError, GraphError, SourceError, ModelFileError, CatalogueError, DecodingError, BucketError, FolderError,
        ClusterError, EmbeddingError, CacheError, SoundError, LearningError, AlreadyRunningError, LogError, StoreError,
        WorkerDied,
    )  # fmt: skip
    try:
        yield
    except known as error:
        fail("retrain", str(error))
    except KeyboardInterrupt:
        fail("retrain", "interrupted; what was done is kept: run it again to go on", INTERRUPTED)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            where = f" for {error.filename}" if error.filename else ""
            fail("retrain", f"no space is left{where}; make room and run it again: what was done is kept")
        fail("retrain", said(error))
