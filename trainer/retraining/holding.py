"""The new model against the one in use: on the same sounds, whatever has come since that one was judged."""

from collections.abc import Callable
from dataclasses import dataclass

from edge.detection.choice import default_model
from edge.detection.model_file import ModelFileError
from trainer.judging.comparison import NotComparableError, comparable
from trainer.judging.evaluate import JudgedFile
from trainer.judging.gate import judge
from trainer.judging.metrics import Gate, Metrics, Rule
from trainer.judging.speed import time_against
from trainer.models.choice import metrics_of
from trainer.models.package import MODEL
from trainer.models.store import Store, StoreError
from trainer.retraining.telling import Telling

FEWEST_IN_COMMON = 5
"""Recordings of shots, for two models that were each judged out of fold."""


@dataclass(frozen=True)
class InUse:
    """The model that is in use, as it was judged when it was made."""

    version: str
    data: bytes
    metrics: Metrics


def in_use(store: Store) -> InUse | None:
    """Raises StoreError, OSError: it is there, and cannot be read."""
    version = store.current()
    if version is None:
        return None
    return InUse(version, (store.root / version / MODEL).read_bytes(), metrics_of(store, version))


def held(
    candidate: Metrics,
    model: bytes,
    store: Store,
    out_of_fold: bool,
    judge_again: Callable[[bytes], Metrics],
    telling: Telling,
) -> Metrics:
    """``candidate`` with its gate, and with its speed beside that of the model in use.

    ``judge_again``: judges a model on the sounds that the candidate was judged on. Where those are judged out of fold
    that would not be fair to the candidate: the model in use has learned from them. Then the two are held against each
    other on the recordings that both were judged on out of fold.
    """
    try:
        before = in_use(store)
    except (StoreError, OSError) as error:
        return _with(candidate, _closed(candidate, store.current(), "the model in use can be read", str(error)))
    if before is None:
        # A first model is timed against the one that ships, so that the figure is there; it decides nothing.
        candidate = _timed(candidate, model, default_model().read_bytes())
        return _with(candidate, judge(candidate, None))
    try:
        candidate = _timed(candidate, model, before.data)
        current = before.metrics
        if not _are_comparable(candidate, current):
            if out_of_fold or current.model.target != candidate.model.target:
                return _with(candidate, _on_common(candidate, current))
            telling.note(f"{before.version}, which is in use, was judged on other sounds; it was judged again on these")
            current = judge_again(before.data)
        return _with(candidate, judge(candidate, current))
    except ModelFileError as error:
        return _with(candidate, _closed(candidate, before.version, "the model in use can be run", str(error)))


def _on_common(candidate: Metrics, current: Metrics) -> Gate:
    of_current = {one.recording: one for one in current.recordings if one.bursts}
    common = {
        one.recording
        for one in candidate.recordings
        if one.bursts and one.recording in of_current and of_current[one.recording].bursts == one.bursts
    }
    if len(common) < FEWEST_IN_COMMON or current.model.target != candidate.model.target:
        return _closed(
            candidate,
            current.model.version,
            "recordings of shots that both models were judged on",
            "too few to compare the two by; listen to both, and use --force with a --reason",
            limit=FEWEST_IN_COMMON,
            measured=len(common),
        )
    both = [
        one.model_copy(update={"recordings": [row for row in one.recordings if row.recording in common]})
        for one in (candidate, current.model_copy(update={"dataset": candidate.dataset}))
    ]
    gate = judge(candidate.model_copy(update={"recordings": both[0].recordings}), both[1])
    told = f"on the {len(common)} recordings that both were judged on, out of fold"
    rules = [
        rule.model_copy(update={"note": f"{rule.note}; {told}"}) if "lower bound" in rule.name else rule
        for rule in gate.rules
    ]
    return gate.model_copy(update={"rules": rules})


def _closed(
    candidate: Metrics, against: str | None, name: str, note: str, limit: float | None = None,
    measured: float | None = None,
) -> Gate:  # fmt: skip
    """The gate of a first model, closed by one more rule."""
    rule = Rule(name=name, limit=limit, measured=measured, passed=False, sense="at least", note=note)
    return Gate(against=against, rules=[rule, *judge(candidate, None).rules])


def _are_comparable(one: Metrics, other: Metrics) -> bool:
    try:
        comparable(one, other)
    except NotComparableError:
        return False
    return True


def _timed(candidate: Metrics, model: bytes, other: bytes) -> Metrics:
    files = JudgedFile.of_bytes(model), JudgedFile.of_bytes(other)
    return candidate.model_copy(update={"speed": time_against(files[0].model, files[1].model)})


def _with(candidate: Metrics, gate: Gate) -> Metrics:
    return candidate.model_copy(update={"gate": gate})
