"""The whole of it: recordings → training and validation part → network trained further → int8 backbone."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from converters.backbone_file import open_backbone
from converters.flatbuffer import GraphError
from converters.network import Network
from converters.parity import Parity
from converters.yamnet_h5 import from_h5
from converters.yamnet_weights import from_tflite
from edge.detection.choice import default_model
from edge.detection.model_file import read_bytes
from edge.detection.waveform_yamnet import read_labels
from edge.durable import commit_bytes
from trainer.data.split import part_of
from trainer.distillation.bank import BankPlan
from trainer.finetuning.lessons import TRAINING, VALIDATION, Before, Lessons, banks
from trainer.finetuning.network import Tuned
from trainer.finetuning.outcome import Written, backbone_of, parity
from trainer.finetuning.training import Epoch, Plan, train
from trainer.lock import only_one
from trainer.retraining.material import Material, gather
from trainer.retraining.request import Request as Sources
from trainer.retraining.snapshot import licence_of_model, worse_licence
from trainer.retraining.telling import Telling

MIXES = 4000
"""Of the training part, for the ranges and for voices, which are rare."""


@dataclass(frozen=True)
class Request:
    """All options of ``ecosight-trainer finetune``."""

    sources: Sources
    """Where recordings come from, as for ``retrain``; and the network, None for that of the model that ships."""
    out: Path
    plan: Plan
    names: Path
    """Google's ``yamnet.tflite``, for the names of the classes, which ``yamnet.h5`` does not hold."""
    banks: tuple[BankPlan, BankPlan] = (TRAINING, VALIDATION)

    @property
    def work(self) -> Path:
        return self.sources.cache / "finetuning"


@dataclass(frozen=True)
class Start:
    """The network that is trained further."""

    network: Network
    classes: tuple[str, ...]
    licence: str
    """Of what it learned from, where that forbids something; else empty."""
    graph: bytes | None = None
    """In int8, if it came so."""
    heard: frozenset[str] = frozenset()
    """Clips that it has learned from, as far as that is known (`Backbone.heard`)."""


@dataclass(frozen=True)
class Outcome:
    out: Path
    epochs: list[Epoch]
    best: Epoch
    written: Written
    parity: list[Parity]

    @property
    def has_gained(self) -> bool:
        """Against the network as it came, on the validation part."""
        return self.best.number > 0

    @property
    def holds(self) -> bool:
        """Whether int8 keeps what was learned."""
        return all(one.holds for one in self.parity)


def start_of(path: Path, names: Path) -> Start:
    """The network of a backbone, a model file, Google's ``yamnet.tflite`` or ``yamnet.h5``.

    Raises GraphError, ModelFileError, OSError; MissingExtraError: no h5py here.
    """
    if path.suffix.lower() == ".h5":
        network = from_h5(path)
        if not names.is_file():
            raise GraphError(
                f"{path} does not hold the names of its classes, and {names} is not there to take them from: "
                "`ecosight-trainer backbone fetch`, or --names yamnet.tflite"
            )
        classes = tuple(read_labels(names.read_bytes(), str(names)))
        if len(classes) != len(network.class_biases):
            raise GraphError(f"{path} has {len(network.class_biases)} classes, {names} names {len(classes)}")
        return Start(network, classes, "")
    content = read_bytes(path)
    file = open_backbone(content, str(path))
    network = from_tflite(file.cut(file.classes).pack())
    return Start(network, file.classes, file.licence, file.cut().pack(), file.heard)


def finetune(request: Request, telling: Telling) -> Outcome:
    """Train and write the backbone, unless it is no better than the network was or int8 does not keep it.

    Raises:
        AlreadyRunningError: another run works in this cache.
        CatalogueError, FolderError, DecodingError: recordings cannot be had or used.
        LearningError: there are too few of them.
        GraphError, ModelFileError: the network cannot be had or used, or training diverged.
        MissingExtraError: the extra ``deep`` is not installed.
        OSError, KeyboardInterrupt: what was done stays.
    """
    sources = request.sources
    path = sources.backbone or default_model()
    with only_one(request.work, f"finetune of {path.name}"):
        start = start_of(path, request.names)
        material = gather(sources, telling)
        with telling.step("spectrograms"):
            training, validation = banks(
                request.work, material.learned, sources.processes, telling.progress, request.banks
            )
            telling.say(f"{training.hours:.1f} h of sounds to learn from, {validation.hours:.1f} h that decide")
        lessons = Lessons(training, validation, Before(start.network, start.graph), request.plan.seed)
        tuned = Tuned(start.network, len(lessons.labels), request.plan.frozen, request.plan.seed)
        folder = request.work / f"run-{_key(request.plan, start, training.digest, validation.digest)}"
        with telling.step("training"):
            epochs = train(tuned, lessons, request.plan, folder, _tell(telling.say))
        best = min(epochs, key=lambda one: one.loss)
        with telling.step("int8"):
            mixes = next(lessons.epoch(-1, MIXES, MIXES))
            licence = worse_licence(_licence(material), start.licence)
            heard = {clip.sha256 for clip in material.sources if part_of(clip.recording) == "train"} | start.heard
            written = backbone_of(tuned.plain(), start.classes, mixes, licence, heard)
            asked = lessons.validation(request.plan.validation)
            outcome = Outcome(
                request.out, epochs, best, written, parity(written, tuned.small_head(), asked, lessons.labels)
            )
        if outcome.has_gained and outcome.holds:
            request.out.parent.mkdir(parents=True, exist_ok=True)
            commit_bytes(request.out, written.content)
        return outcome


def _licence(material: Material) -> str:
    """Only the training part was learned from, and the validation part decided when to stop: both count."""
    return licence_of_model(material.sources)


def _key(plan: Plan, start: Start, *digests: str) -> str:
    """Of all that the numbers of a checkpoint depend on; how long and on how many cores is no part of it."""
    same = replace(plan, minutes=0.0, epochs=0, threads=1)
    digest = sha256(" ".join([repr(same), *digests]).encode())
    for layer in start.network.layers:
        digest.update(layer.weights.tobytes())
    digest.update(start.network.class_weights.tobytes())
    return digest.hexdigest()[:16]


def _tell(say: Callable[[str], None]) -> Callable[[Epoch], None]:
    def tell(one: Epoch) -> None:
        what = f"epoch {one.number}" if one.number else "as it came"
        say(
            f"{what:>10}  {one.minutes:5.1f} min  loss {one.loss:.4f} (label {one.label:.4f}, known {one.known:.4f})  "
            f"shots above 99 % of the others {one.found:.3f}  rate {one.rate:.1e}"
        )

    return tell
