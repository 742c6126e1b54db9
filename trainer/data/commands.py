"""``ecosight-trainer data``: the catalogue of recordings, and the bucket that they come from.

Facts go to standard output, progress and what is wrong to standard error. Exit codes: 0 done, 1 not done or something
to correct, 130 interrupted (what was done is kept).
"""

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from trainer.failing import fail, said
from trainer.progress import bars

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The recordings that are learned from.")

Where = Annotated[Path, typer.Option("--catalogue", help="Folder of the catalogue.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document, for scripts.")]
Bucket = Annotated[str | None, typer.Option("--bucket", envvar="S3_BUCKET", help="Bucket.")]
CATALOGUE = Path("catalogue")
SHOWN = 20
"""Lines of each kind of trouble that are printed; --json has all."""
INTERRUPTED = 130


@app.command()
def add(
    folder: Annotated[Path, typer.Argument(help="With MANIFEST.csv, or extracted_audio/<class>/*.wav, .mp3, …")],
    catalogue: Where = CATALOGUE,
    licence: Annotated[str, typer.Option(help="Of files of which nothing says it; 'own' for your recordings.")] = "",
    site: Annotated[str, typer.Option(help="Where they were heard, if nothing says it.")] = "",
    source: Annotated[str, typer.Option(help="What this collection is called; the folder's name if not given.")] = "",
    processes: Annotated[int | None, typer.Option(min=1, help="One per core if not given.")] = None,
    as_json: Json = False,
) -> None:
    """Bring the catalogue in agreement with a folder of recordings. Unchanged files are not read again."""
    from trainer.data import adding
    from trainer.data.catalogue import Catalogue

    with _clear_errors("add"), bars() as progress, Catalogue(catalogue, begin=True) as opened:
        added = adding.add(opened, folder, licence, site, source, processes, progress)
    refused = [(one.path, one.reason) for one in added.refused]
    _list_on_stderr("not in the catalogue", [f"{_line(path)}: {reason}" for path, reason in refused])
    _list_on_stderr("gone from the folder, and from the catalogue", [_line(path) for path in added.gone])
    counts = {"new": added.new, "changed": added.changed, "unchanged": added.unchanged}
    if as_json:
        told = [{"path": str(path), "reason": reason} for path, reason in refused]
        _print_json({**counts, "refused": told, "gone": [str(path) for path in added.gone]})
    else:
        counts |= {"refused": len(refused), "gone": len(added.gone)}
        typer.echo("\n".join(f"{name:10} {count}" for name, count in counts.items()))
    if not sum((added.new, added.changed, added.unchanged)):
        fail("data add", f"nothing in {_line(folder)} can be learned from")


@app.command(name="list")
def list_(
    catalogue: Where = CATALOGUE,
    label: Annotated[str | None, typer.Option(help="Only this class, file by file.")] = None,
    as_json: Json = False,
) -> None:
    """What the catalogue holds, by class; or the files of one class."""
    from trainer.data.catalogue import Catalogue
    from trainer.data.split import part_of

    with _clear_errors("list"), Catalogue(catalogue) as opened:
        clips = [clip for clip in opened.clips() if label is None or clip.label == label]
    if as_json:
        _print_json([{**asdict(clip), "path": str(clip.path), "part": part_of(clip.recording)} for clip in clips])
        return
    if label is not None:
        for clip in clips:
            facts = (clip.recording, part_of(clip.recording), f"{clip.seconds:.2f} s", clip.licence, clip.site)
            typer.echo("  ".join((_line(clip.path), *filter(None, facts))))
        return
    parts = ("train", "validation", "test")
    typer.echo(f"{'class':24} {'clips':>6} {'recordings':>10} {'hours':>7}  " + " ".join(f"{p:>10}" for p in parts))
    for name in sorted({clip.label for clip in clips}):
        some = [clip for clip in clips if clip.label == name]
        recordings = {clip.recording for clip in some}
        hours = sum(clip.seconds for clip in some) / 3600
        shares = " ".join(f"{sum(part_of(one) == part for one in recordings):10}" for part in parts)
        typer.echo(f"{name:24} {len(some):6} {len(recordings):10} {hours:7.2f}  {shares}")


@app.command()
def check(catalogue: Where = CATALOGUE, as_json: Json = False) -> None:
    """What stands against learning from the catalogue. Ends with 1 where something is to be corrected."""
    from trainer.data.catalogue import Catalogue
    from trainer.data.checking import check as look

    with _clear_errors("check"), Catalogue(catalogue) as opened:
        found = look(opened)
    if as_json:
        _print_json(asdict(found))
    else:
        for name, count in found.counts.items():
            typer.echo(f"{name:28} {count}")
        for what, lines in found.errors.items():
            _list_on_stderr(f"ERROR: {what}", lines)
        for what, lines in found.remarks.items():
            _list_on_stderr(what, lines)
    if any(found.errors.values()):
        raise typer.Exit(1)


@app.command()
def upload(
    folder: Annotated[Path, typer.Argument(help="With extracted_audio/<class>/…")],
    bucket: Bucket = None,
    as_json: Json = False,
) -> None:
    """Put the recordings of a folder into the bucket (S3_BUCKET; keys from AWS_*)."""
    from trainer.data import bucket as store

    with _clear_errors("upload"), bars() as progress:
        transfer = store.upload(folder, store.bucket_name(bucket), progress)
    _tell(transfer, as_json)


@app.command()
def download(
    folder: Annotated[Path, typer.Argument(help="Where extracted_audio/<class>/… comes to lie.")],
    bucket: Bucket = None,
    as_json: Json = False,
) -> None:
    """Get the recordings of the bucket (S3_BUCKET; keys from AWS_*) into a folder. Goes on where it stopped."""
    from trainer.data import bucket as store

    with _clear_errors("download"), bars() as progress:
        transfer = store.download(folder, store.bucket_name(bucket), progress)
    _list_on_stderr("only in the folder, not in the bucket", [_line(path) for path in transfer.only_here])
    _tell(transfer, as_json)


def _tell(transfer: Any, as_json: bool) -> None:
    if as_json:
        _print_json({**asdict(transfer), "only_here": [str(path) for path in transfer.only_here]})
        return
    typer.echo(f"moved      {len(transfer.moved)} ({transfer.moved_bytes} bytes)\nthere      {transfer.there}")


@contextlib.contextmanager
def _clear_errors(command: str) -> Iterator[None]:
    """What a person can mend is one message, never a traceback."""
    from trainer.data.catalogue import CatalogueError
    from trainer.data.objects import BucketError
    from trainer.data.sources import FolderError
    from trainer.lock import AlreadyRunningError

    try:
        yield
    except (BucketError, CatalogueError, FolderError, AlreadyRunningError) as error:
        fail(f"data {command}", str(error))
    except KeyboardInterrupt:
        typer.echo(f"ecosight-trainer data {command}: interrupted; run it again to go on", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        # The reader of a pipe has left (`… | head`).
        sys.stderr.close()
        raise typer.Exit(0) from None
    except OSError as error:
        fail(f"data {command}", said(error))


def _list_on_stderr(title: str, lines: list[str]) -> None:
    if not lines:
        return
    more = [f"  … and {len(lines) - SHOWN} more; --json lists all"] if len(lines) > SHOWN else []
    typer.echo("\n".join([f"{title} ({len(lines)}):", *(f"  {line}" for line in lines[:SHOWN]), *more]), err=True)


def _line(path: Path) -> str:
    from trainer.data.decoding import one_line

    return one_line(path)


def _print_json(document: Any) -> None:
    typer.echo(json.dumps(document, indent=1))
