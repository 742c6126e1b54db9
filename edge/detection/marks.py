"""Embeddings of recent alerts, and those among them that rangers marked as false: files that outlive a restart.

    marks = Marks(manifest, state_dir / "site")
    marks.keep(alert_id, "gun_shot", 0.8, "2026-11-20T12:00:00Z", embedding)    # of every alert
    marks.mark(alert_id, is_false=True)                                        # a ranger says that it was none
    marks.near("gun_shot", embedding)                                          # of every event that is confirmed

An embedding never leaves the device. ``embeddings/`` holds the newest few hundred, ``vetoes.json`` the marks.
"""

import json
import logging
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.detection.model_file import Manifest
from edge.detection.vetoes import Marked, Near, Vetoes
from edge.durable import commit_bytes

log = logging.getLogger(__name__)

NEWEST = 256
"""Alerts whose embedding is kept."""
MOST_MARKS = 1024
"""Of all labels and networks: those of a model that ran before come back with it."""
VETOES, EMBEDDINGS = "vetoes.json", "embeddings"


class MarkError(ValueError):
    """An alert cannot be marked. The text is for a person."""


@dataclass(frozen=True)
class MarkResult:
    """What a mark changed."""

    vetoes: int
    """Marks in force now, of the alert's label."""
    removed: Sequence[str]
    """Alerts whose mark was taken away."""


class _Book:
    """What lies in the folder. The marks of two models share it while one waits to follow the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.Lock()
        self.marked = _read(folder / VETOES)
        files = sorted((folder / EMBEDDINGS).glob("*.json"), key=lambda one: one.stat().st_mtime)
        self.kept = deque(one.stem for one in files)


class Marks:
    """Used by several threads."""

    def __init__(self, manifest: Manifest, folder: Path | None = None, before: "Marks | None" = None) -> None:
        """``folder``: None remembers nothing. ``before``: of the model that this one follows while the daemon runs; a
        mark that is still made on either is known to both."""
        self._rules = {label: one.veto for label, one in manifest.decisions.items() if one.veto is not None}
        self._network = (manifest.backbone_sha256 or "") if self._rules else ""
        self._book: _Book | None = None
        if self._rules and folder is not None:
            shared = before._book if before is not None else None
            self._book = shared if shared is not None and shared.folder == folder else _Book(folder)
        self._compared: tuple[Sequence[Marked], dict[str, Vetoes]] = (), {}
        if self.of_other_networks:
            log.warning("%d marks belong to the network of another model and are not looked at", self.of_other_networks)

    @property
    def wanted(self) -> bool:
        """Whether the model has a rule for them."""
        return bool(self._rules)

    @property
    def in_force(self) -> int:
        """Marks that events are compared with."""
        return sum(len(one.marked) for one in self._in_force().values())

    @property
    def of_other_networks(self) -> int:
        """Marks that are void, because another network made their embeddings."""
        return sum(one.network != self._network for one in self._marked)

    def near(self, label: str, embedding: NDArray[np.floating] | None) -> Near | None:
        """The mark that an event's embedding, float [F], is near to; None without one, or with nothing to compare."""
        vetoes = self._in_force().get(label)
        return vetoes.near(embedding) if vetoes is not None and embedding is not None else None

    def keep(self, alert_id: str, label: str, score: float, at: str, embedding: NDArray[np.floating] | None) -> None:
        """Remember an alert's embedding, float [F], so that it can be marked; as float16. ``at``: UTC, ISO 8601.

        A full disk is logged: it must not end detection.
        """
        book = self._book
        if book is None or label not in self._rules or embedding is None:
            return
        one = Marked(alert_id, label, self._network, score, at, np.asarray(embedding, np.float16))
        folder = book.folder / EMBEDDINGS
        new = folder / ".new"  # one name for all: on a full disk it stays behind
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Without an fsync: who marks an alert that a power cut took this of is told so.
            new.write_text(json.dumps(one.document()), encoding="utf-8")
            new.replace(folder / f"{alert_id}.json")
            if alert_id not in book.kept:
                book.kept.append(alert_id)
            while len(book.kept) > NEWEST:
                (folder / f"{book.kept.popleft()}.json").unlink(missing_ok=True)
        except OSError as error:
            log.warning("the embedding of alert %s cannot be kept: %s", alert_id, error)

    def mark(self, alert_id: str, is_false: bool) -> MarkResult:
        """A ranger says what an alert was. False: events near it are vetoed from now on. A shot: marks near it are
        taken away, its own among them.

        Raises:
            MarkError: there is no rule, no embedding of this alert, or it is another network's.
            OSError: no space.
        """
        book = self._book
        if book is None:
            raise MarkError("the model that runs has no rule for sounds that were marked")
        with book.lock:
            one = self._embedding(book, alert_id)
            if one.network != self._network:
                raise MarkError(
                    f"the embedding of alert {alert_id} is of the network of another model; mark an alert of this one"
                )
            if one.label not in self._rules:
                raise MarkError(f"the model that runs has no rule for {one.label}")
            left = [other for other in self._marked if other.alert_id != alert_id]
            if is_false:
                removed = self._oldest(left, one.label)
                marked = [*(other for other in left if other not in removed), one]
            else:
                alone = [other for other in self._marked if self._is_near(other, one)]
                removed = [other for other in self._marked if other.alert_id == alert_id or other in alone]
                marked = [other for other in self._marked if other not in removed]
            _write(book, marked[-MOST_MARKS:])
            found = self._in_force().get(one.label)
            return MarkResult(len(found.marked) if found else 0, [other.alert_id for other in removed])

    @property
    def _marked(self) -> tuple[Marked, ...]:
        return self._book.marked if self._book is not None else ()

    def _embedding(self, book: _Book, alert_id: str) -> Marked:
        for one in book.marked:
            if one.alert_id == alert_id:
                return one
        try:
            text = (book.folder / EMBEDDINGS / f"{alert_id}.json").read_text(encoding="utf-8")
            return Marked.of(json.loads(text))
        except (OSError, ValueError) as error:
            raise MarkError(
                f"no embedding of alert {alert_id} is kept: only those of the newest {NEWEST} alerts are"
            ) from error

    def _oldest(self, marked: Sequence[Marked], label: str) -> list[Marked]:
        """Those that must go, so that one more of ``label`` has room."""
        own = [one for one in marked if one.label == label and one.network == self._network]
        return own[: max(0, len(own) + 1 - self._rules[label].most)]

    def _is_near(self, one: Marked, to: Marked) -> bool:
        alone = Vetoes(self._rules[to.label], to.label, self._network, [one])
        return alone.near(to.embedding) is not None

    def _in_force(self) -> dict[str, Vetoes]:
        marked, vetoes = self._compared
        if marked is not self._marked:
            marked = self._marked
            vetoes = {label: Vetoes(rule, label, self._network, marked) for label, rule in self._rules.items()}
            self._compared = marked, vetoes
        return vetoes


def _write(book: _Book, marked: Sequence[Marked]) -> None:
    book.folder.mkdir(parents=True, exist_ok=True)
    document = {"schema_version": 1, "marks": [one.document() for one in marked]}
    commit_bytes(book.folder / VETOES, json.dumps(document).encode())
    book.marked = tuple(marked)


def _read(path: Path) -> tuple[Marked, ...]:
    """The marks in a file; none where it is not there. A damaged file is set aside: an alert too many is no harm."""
    if not path.exists():
        return ()
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return tuple(Marked.of(one) for one in document["marks"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        log.warning("%s is damaged (%r) and set aside; nothing is vetoed until alerts are marked again", path, error)
        path.replace(path.with_suffix(".damaged"))
        return ()
