"""A run from end to end: recordings → windows → head → threshold → judged → gate → packaged → in use.

    with on_the_screen() as telling:
        outcome = retrain(Request(data=(Path("recordings"),)), telling)

Every step leaves what it made in the cache, under a name that says what it was made from. So a run that was cut off,
however, goes on where it was when it is started again; and one that finds nothing new is over in seconds.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from converters.build import taken_apart
from edge.detection import model_file
from edge.detection.choice import default_model
from trainer.embedding.embedder import Embedder
from trainer.judging.metrics import Metrics
from trainer.learning.reading import Reading, reading_of
from trainer.learning.unheard import known_to
from trainer.lock import only_one
from trainer.models.choice import RefusedError, promote
from trainer.models.log import append, entry_of, read
from trainer.models.package import Package, package
from trainer.models.store import Store
from trainer.retraining import trigger
from trainer.retraining.ablations import ablations
from trainer.retraining.bench import Bench, bench_of, judge
from trainer.retraining.crossfit import CrossFitted, cross_fitted
from trainer.retraining.head import Learned, history_of, learn_head, model_of
from trainer.retraining.holding import held
from trainer.retraining.kept import Kept
from trainer.retraining.keras_file import NAME, keras_file
from trainer.retraining.material import Material, gather
from trainer.retraining.request import Request
from trainer.retraining.snapshot import facts, licence_of_model, worse_licence
from trainer.retraining.telling import Telling

LOCK = ".retraining"
"""Folder of the lock, among the models."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    status: Literal["in use", "refused", "nothing to do"]
    reason: str
    """What set it off; of one with nothing to do, all that was looked at."""
    version: str = ""
    before: str | None = None
    metrics: Metrics | None = None
    """With the gate as it was held in this run."""
    material: Material | None = None
    folder: Path | None = None
    is_new: bool = False
    """Whether such a model had not been there."""
    forced: bool = False
    """This run put it to use past a closed gate."""


class _Run:
    """One run; its parts are made once."""

    def __init__(self, request: Request, telling: Telling, now: datetime) -> None:
        self._request, self._telling, self._now = request, telling, now
        self._store = Store(request.models)
        self._kept = Kept(request.work / "kept")
        self._backbone = b""

    def go(self) -> Outcome:
        request, telling = self._request, self._telling
        material = gather(request, telling)
        reason = request.reason
        bench: Bench | None = None
        if request.trigger is not None:
            verdict = trigger.verdict(
                request.trigger,
                self._store,
                read(request.models),
                material.recordings,
                lambda was, model: self._as_it_is_now(was, model, material),
                self._now,
            )
            if not verdict.reason:
                return Outcome("nothing to do", "; ".join(verdict.looked_at), material=material)
            telling.say(f"set off by: {verdict.reason}")
            reason = "; ".join(filter(None, (f"trigger: {verdict.reason}", request.reason)))
        reading = self._reading()
        with Embedder(reading.steps, request.cache, request.processes, request.cluster, say=telling.say) as embedder:
            learned = learn_head(
                material.learned, reading, embedder, request, self._kept, telling,
                known=known_to(reading.file, material.sources),
            )  # fmt: skip
            if learned.at_sites is not None:
                telling.note(learned.at_sites.in_words())
            told = self._told(material, learned, reading)
            model, without = self._models(learned, reading, **told)
            bench = bench_of(material, request, telling)
            metrics = self._judged(model, without, bench)
            metrics = metrics.model_copy(update={"quantisation": learned.quantisation})
            if request.ablations:
                rows = ablations(
                    learned.heard,
                    learned.decided,
                    lambda effect: self._ablated(effect, material, reading, embedder).heard,
                    telling,
                )
                metrics = metrics.model_copy(update={"ablations": rows})
        with telling.step("gate"):
            metrics = held(
                metrics,
                model,
                self._store,
                bench.out_of_fold,
                lambda other: judge(other, (), bench, request, self._kept, telling),
                telling,
            )
        metrics = metrics.model_copy(update={"notes": [*telling.notes, *metrics.notes][:100]})
        return self._finish(material, learned, model, bench, metrics, reason)

    def _reading(self) -> Reading:
        # The network of the model that ships has learned shots under rain; Google's, which is larger, has not.
        path = self._request.backbone or default_model()
        self._backbone = model_file.read_bytes(path)
        return reading_of(self._backbone, name=str(path))

    def _told(self, material: Material, learned: Learned, reading: Reading) -> dict[str, Any]:
        return {
            "training": facts(material, self._request, learned.windows),
            # A network that learned from what may not be passed on makes a model that may not.
            "licence": worse_licence(licence_of_model(material.sources), reading.file.licence),
        }

    def _models(self, learned: Learned, reading: Reading, **told: Any) -> tuple[bytes, list[bytes]]:
        """The model, and the same without each fold."""
        final, *without = (
            model_of(one, learned, reading, self._backbone, self._request, **told)
            for one in (learned.fitted.final, *learned.fitted.without)
        )
        return final, without

    def _judged(self, model: bytes, without: list[bytes], bench: Bench) -> Metrics:
        return judge(model, without if bench.out_of_fold else (), bench, self._request, self._kept, self._telling)

    def _ablated(self, effect: str, material: Material, reading: Reading, embedder: Embedder) -> CrossFitted:
        return cross_fitted(
            material.learned, reading, embedder, self._request, self._kept, self._telling, frozenset({effect}),
            known_to(reading.file, material.sources),
        )  # fmt: skip

    def _as_it_is_now(self, was: Metrics, model: bytes, material: Material) -> Metrics | None:
        bench = bench_of(material, self._request, self._telling)
        if bench.out_of_fold or bench.sounds.sha256() == was.dataset.sha256:
            return None
        return judge(model, (), bench, self._request, self._kept, self._telling)

    def _finish(
        self, material: Material, learned: Learned, model: bytes, bench: Bench, metrics: Metrics, reason: str
    ) -> Outcome:
        """Package, log, put to use. Cut off between two of them, the next run does the rest."""
        request, telling, store = self._request, self._telling, self._store
        gate = metrics.gate
        assert gate is not None
        more = {trigger.RECORDINGS: trigger.recordings_file(material.recordings)}
        with telling.step("packaging"):
            if (keras := keras_file(taken_apart(model)[2], telling)) is not None:
                more[NAME] = keras
            whole = model_file.parse(model)
            history = [*history_of(learned, material.learned), {"step": "seconds", **telling.seconds}]
            before_it = set(store.versions())
            folder = package(
                store,
                Package(whole.graph, whole.manifest, whole.golden, metrics, history, bench.sounds.sounds, more),
                self._now.date(),
            )
        version, before = folder.name, store.current()
        metrics = metrics.model_copy(update={"model": metrics.model.model_copy(update={"version": version})})
        details = {
            "recordings": len(material.recordings),
            "clips": len(material.sources),
            "catalogue": material.catalogue,
            "seed": request.seed,
            "licence": request.licence,
            "judged_on": bench.sounds.name,
            "seconds": round(sum(telling.seconds.values()), 1),
        }
        with store.locked():
            append(
                store.root,
                entry_of(
                    "retrained" if gate.passed else "refused", metrics, self._now, before=before, reason=reason,
                    who=request.who, details=details,
                ),
            )  # fmt: skip
        ended: dict[str, Any] = {
            "reason": reason, "version": version, "before": before, "metrics": metrics, "material": material,
            "folder": folder, "is_new": version not in before_it,
        }  # fmt: skip
        if version == before:
            return Outcome("in use", **ended)
        try:
            promote(store, version, self._now, request.who, reason, request.force, held=gate)
        except RefusedError as error:
            telling.say(str(error))
            return Outcome("refused", **ended)
        return Outcome("in use", forced=not gate.passed, **ended)


def retrain(request: Request, telling: Telling, now: datetime | None = None) -> Outcome:
    """Do all of it.

    Raises:
        AlreadyRunningError: another run works on these models, or in this cache.
        BucketError, FolderError, CatalogueError, DecodingError: recordings cannot be had or used.
        BackboneError, GraphError, ModelFileError: the network cannot be had or used.
        LearningError, SoundError: there is not enough to learn from, or to judge on.
        EmbeddingError, ClusterError, StoreError, LogError, SourceError, OSError: as the steps say; what is done stays.
        KeyboardInterrupt: likewise.
    """
    what = f"retrain of {', '.join(map(str, request.data)) or request.catalogue}"
    with only_one(request.models / LOCK, what), only_one(request.work, what):
        return _Run(request, telling, now or datetime.now(UTC)).go()
