"""``ecosight-trainer finetune``: a network trained further on one's own recordings, end to end.

Exit codes: 0 written, 1 not done, 3 not worth writing (no gain, or int8 loses it), 130 interrupted.
"""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainer.distillation.commands import FETCHED
from trainer.failing import fail, said
from trainer.retraining.request import Licence
from trainer.retraining.request import Request as Sources

if TYPE_CHECKING:
    from trainer.finetuning.tuning import Outcome

NOT_WORTH = 3
INTERRUPTED = 130


def finetune(
    data: Annotated[
        list[Path],
        typer.Option(help="Folder of recordings (MANIFEST.csv, or extracted_audio/<class>/…); may be given again."),
    ],
    backbone: Annotated[
        Path | None,
        typer.Option(help="The network: yamnet.tflite, yamnet.h5, a backbone, a model file; else the one that ships."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The int8 backbone to write.")] = Path("tuned.tflite"),
    minutes: Annotated[float, typer.Option(min=0.0, help="At most so long, over all runs; stops by itself.")] = 480.0,
    frozen: Annotated[
        int, typer.Option(min=-1, max=10, help="Maps 0 to so many stay as they are; -1: all are trained.")
    ] = 4,
    rate: Annotated[float, typer.Option(min=1e-7, max=0.1, help="Learning rate at first.")] = 2e-4,
    threads: Annotated[int, typer.Option(min=1, help="Of the learner; mixing takes half a core beside it.")] = 1,
    seed: Annotated[int, typer.Option(help="Of all that is drawn.")] = 1,
    licence: Annotated[
        Licence, typer.Option(help="shippable: learn only from clips whose licence lets a model be passed on.")
    ] = "any",
    own: Annotated[
        bool, typer.Option("--own", help="Recordings of which nothing says a licence are your own; else nobody knows.")
    ] = False,
    catalogue: Annotated[Path, typer.Option(help="Folder of the catalogue.")] = Path("catalogue"),
    cache: Annotated[Path, typer.Option(help="Folder for spectrograms and checkpoints.")] = Path(".cache"),
    names: Annotated[Path, typer.Option(help="Google's yamnet.tflite: yamnet.h5 has no names of classes.")] = FETCHED,
    processes: Annotated[int | None, typer.Option(min=1, help="To read and render; one per core if not given.")] = None,
) -> None:
    """Train a network further on your own recordings, for `retrain --backbone OUT`. Needs the extra `deep`; hours.

    Learns from the training part of the split; the validation part decides when the rate is reduced and when it ends;
    the test part is not touched. Interrupted and run again, it goes on. Exit codes: 0 written, 1 not done, 3 not worth
    writing (no gain, or int8 loses it), 130 interrupted.
    """
    with _clear_errors():
        from converters.extras import needed

        needed("torch")
        needed("keras")
        from trainer.finetuning.training import Plan
        from trainer.finetuning.tuning import Request
        from trainer.finetuning.tuning import finetune as run
        from trainer.retraining.telling import on_the_screen

        sources = Sources(
            data=tuple(data), catalogue=catalogue, cache=cache, backbone=backbone, own=own, licence=licence,
            processes=processes,
        )  # fmt: skip
        plan = Plan(frozen=frozen, minutes=minutes, rate=rate, seed=seed, threads=threads)
        with on_the_screen() as telling:
            outcome = run(Request(sources, out, plan, names), telling)
    typer.echo(_rows(outcome))
    if outcome.epochs[-1].number == 0:
        fail("finetune", f"no time was left to train: give more --minutes; {out} was not written", NOT_WORTH)
    if not outcome.has_gained:
        fail("finetune", f"nothing better than the network as it came was found; {out} was not written", NOT_WORTH)
    if not outcome.holds:
        fail("finetune", f"int8 does not keep what was learned; {out} was not written", NOT_WORTH)


def _rows(outcome: "Outcome") -> str:
    from trainer.retraining.telling import summary

    first, best = outcome.epochs[0], outcome.best
    shift = outcome.written.voices_shift
    told = {
        "backbone": f"{outcome.out}, {len(outcome.written.content) / 1024:.0f} KiB",
        "epochs": f"{outcome.epochs[-1].number} in {outcome.epochs[-1].minutes:.0f} min, the best was {best.number}",
        "loss": f"{first.loss:.4f} -> {best.loss:.4f} on the validation part",
        "shots found": f"{first.found:.3f} -> {best.found:.3f}, above 99 % of the other sounds",
        "voices": "too few to say" if shift is None else f"logits raised by {shift:.2f}",
    }
    return "\n".join([summary(told), "int8 against float, on mixes of the validation part:", *_parities(outcome)])


def _parities(outcome: "Outcome") -> list[str]:
    return [f"  {one}" for one in outcome.parity]


@contextlib.contextmanager
def _clear_errors() -> Iterator[None]:
    """What a person can mend is one message, never a traceback."""
    from converters.extras import MissingExtraError
    from converters.flatbuffer import GraphError
    from edge.audio.source import SourceError
    from edge.detection.choice import NoModelError
    from edge.detection.model_file import ModelFileError
    from trainer.data.catalogue import CatalogueError
    from trainer.data.decoding import DecodingError
    from trainer.data.sources import FolderError
    from trainer.learning.learner import LearningError
    from trainer.lock import AlreadyRunningError
    from trainer.processes import WorkerDied

    known = (
        MissingExtraError, GraphError, SourceError, NoModelError, ModelFileError, CatalogueError, DecodingError,
        FolderError, LearningError, AlreadyRunningError, WorkerDied,
    )  # fmt: skip
    try:
        yield
    except known as error:
        fail("finetune", str(error))
    except KeyboardInterrupt:
        fail("finetune", "interrupted; run it again to go on", INTERRUPTED)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            fail("finetune", "no space is left; make room and run it again: what was done is kept")
        fail("finetune", said(error))
