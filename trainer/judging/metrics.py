"""``performance_metrics.json``: how good a model was found to be, and on what.

Written once, when the model is packaged, and never changed. The report, the gate, ``compare`` and ``history`` read
nothing else, so it also holds what each recording gave: two models judged on the same data can be compared, paired,
without hearing it again.

A shot here is what a ranger is told of: shots closer than the device's ``merge_s`` are one burst, and count once.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from trainer.judging.statistics import Bin, Interval

RATES_PER_HOUR = (10.0, 3.0, 1.0)
"""False alarms per hour at which recall is stated."""


class _Part(BaseModel):
    # What a later version says beside this is no reason to refuse it.
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True, allow_inf_nan=False)


class Recall(_Part):
    """A share of bursts that were found, with its 90 % interval by recording."""

    value: float
    low: float
    high: float
    bursts: int
    recordings: int


class RecallAtSnr(Recall):
    snr_db: float


class RecallAtDistance(Recall):
    distance_m: float


class Recalls(_Part):
    """Of all bursts, and of those at one ratio or distance, where it is known."""

    all: Recall
    by_snr: list[RecallAtSnr] = []
    """Loudest first."""
    by_distance: list[RecallAtDistance] = []
    """Nearest first."""


class FalseAlarms(_Part):
    """Events that match no shot."""

    events: int
    hours: float
    per_hour: float
    upper_per_hour: float | None
    """The rate is below this with 95 % confidence (Poisson); null where nothing was heard."""


class AtRate(_Part):
    """Recall at the threshold that gives so many false alarms."""

    per_hour: float
    """As asked for."""
    reached_per_hour: float
    """At that threshold: events are whole, so it may be less."""
    threshold: float
    """A score. Hits, release and certainty move along with it, on the scale of margins."""
    recalls: Recalls


class Shipped(_Part):
    """At the model's own thresholds, through the device's detector with its search for onsets."""

    threshold: float
    promised_per_hour: float | None
    """The rate that the threshold was chosen for; null where nobody promised one."""
    false_alarms: FalseAlarms
    """In rated sounds."""
    by_label: dict[str, FalseAlarms]
    """In sounds without shots, by what they are, rated or not."""
    beside_shots: FalseAlarms
    """In sounds that hold shots: events that match none of them."""
    recalls: Recalls


class Point(_Part):
    """One threshold of a sweep."""

    threshold: float
    per_hour: float
    recall: float
    precision: float | None
    """Of the events of this benchmark, whose share of shots is not that of a forest; null without events."""


class DetPoint(_Part):
    """One threshold over single windows."""

    false_alarm: float
    """Share of the windows without a shot that pass."""
    miss: float
    """Share of the windows with a shot that do not."""


class Curves(_Part):
    """Thresholds from high to low."""

    points: list[Point]
    det: list[DetPoint]


class Calibration(_Part):
    """Whether a window's score is the share of shots among such windows. It need not be: scores are scores."""

    error: float
    bins: list[Bin]


class ClassResult(_Part):
    label: str
    recordings: int
    sounds: int
    recall: Recall
    """Share of its sounds taken for it."""
    precision: float | None
    """Share of the sounds taken for it that are it; null where none was."""


class Confusion(_Part):
    """What sounds were taken for."""

    rows: list[str]
    """What they are."""
    columns: list[str]
    """What they were taken for."""
    counts: list[list[int]]


class Moment(_Part):
    """A false alarm or a miss."""

    sound: str
    """Which one: its path in the data, or its name."""
    recording: str
    label: str
    onset_s: float
    score: float
    """Of a false alarm, the highest of the event; of a miss, the highest of the windows that hold the shot."""
    snr_db: float | None = None
    distance_m: float | None = None
    excerpt: str | None = None
    """File beside this one that holds it."""


class ByRecording(_Part):
    """What one recording gave, for pairing."""

    recording: str
    bursts: int
    found: dict[str, int]
    """By rate (``"10"``), and ``"shipped"``."""
    false_alarms: int
    """At the shipped threshold, in rated sounds."""
    hours: float
    """Of rated sounds."""


class Dataset(_Part):
    """What it was judged on: frozen, so that models can be compared."""

    name: str
    version: str
    sha256: str
    """Of all sounds and what is known of them."""
    sounds: int
    recordings: int
    bursts: int
    hours: float
    rated_hours: float


class JudgedModel(_Part):
    name: str
    version: str
    graph_sha256: str
    """Of the network that was judged: what ships is the same to the byte."""
    size_bytes: int
    target: str
    """The alert label that all this is about."""
    hop_s: float
    hits: int


class Speed(_Part):
    ms_per_window: float
    """Of the CPU."""
    against: str
    """The model that was timed in turns with it."""
    ratio: float
    """Its time per window over that of the other."""


class Quantisation(_Part):
    """The same in float32, on the same sounds; of a retrained head, the head in float32 on the network's int8 maps, on
    recordings that it did not learn from."""

    per_hour: float
    recall_float: float
    recall_int8: float
    lost: Interval | None = None
    """Float minus int8, paired, 90 % by recording, where that is known."""
    recordings: int | None = None
    """Of shots, where that is known."""

    @property
    def loss(self) -> float:
        return self.recall_float - self.recall_int8


class Ablation(_Part):
    """Training without one thing. A difference below 0 says that the thing helps."""

    without: str
    per_hour: float
    recall: float
    difference: Interval
    """Recall without it minus recall with it, paired, 90 % by recording."""


class Rule(_Part):
    """One rule of the gate."""

    name: str
    limit: float | None
    """Null where there is nothing to hold it against."""
    measured: float | None
    passed: bool
    sense: Literal["at least", "at most"]
    note: str = ""


class Gate(_Part):
    """Whether the model may follow the one before it."""

    against: str | None
    """That one's version; null for a first model."""
    rules: list[Rule]

    @property
    def passed(self) -> bool:
        return all(rule.passed for rule in self.rules)


class Metrics(_Part):
    """The whole document."""

    schema_version: Literal[1] = 1
    model: JudgedModel
    dataset: Dataset
    tolerance_s: float
    """An event matches a shot whose onset is this close."""
    at_rates: list[AtRate]
    shipped: Shipped
    curves: Curves
    calibration: Calibration
    classes: list[ClassResult]
    confusion: Confusion
    false_alarms: list[Moment]
    """The hardest, highest score first; after them those that a lower threshold would give."""
    misses: list[Moment]
    """The hardest, clearest shot first."""
    recordings: list[ByRecording]
    speed: Speed | None = None
    quantisation: Quantisation | None = None
    ablations: list[Ablation] = []
    gate: Gate | None = None
    notes: list[str] = Field(default=[], max_length=100)
    """What a reader must know to read the figures rightly."""

    def recall_at(self, per_hour: float) -> AtRate:
        """Raises KeyError where recall was not stated at that rate."""
        for one in self.at_rates:
            if one.per_hour == per_hour:
                return one
        raise KeyError(
            f"no recall at {per_hour:g} false alarms per hour; there is {[x.per_hour for x in self.at_rates]}"
        )


def rate_name(per_hour: float) -> str:
    """How `ByRecording.found` names a rate."""
    return f"{per_hour:g}"
