"""Teaching the student: mixes and the teacher's word on them come from processes of their own, the student learns here.

What is asked of it, each divided by its spread over the first mixes, so that none drowns the others:

- the teacher's 521 logits, those of voices counting more: the privacy gate lives on them;
- its scores of voices (cross-entropy), which say what matters about them: on which side of the gate's limit they are;
- its embedding, through a linear projection, and its hints (what its inner maps look like), through one for each map;
- where the mix says it, the label: the cross-entropy of a small head on the same things that the trained head will
  read. It goes beyond the teacher, who has not learned shots under rain.

Checkpoints are ``.npz`` files; started again, it goes on from the last one with fresh mixes.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from converters.network import WIDTHS_AND_STRIDES
from edge.detection import audioset
from edge.detection.waveform_yamnet import read_labels
from trainer.distillation.bank import Bank, open_bank
from trainer.distillation.mixes import UNCLEAR, Mixer
from trainer.distillation.student import Student
from trainer.distillation.teacher import Lesson, Teacher

LABELS = frozenset({"head.4.weight", "head.4.bias"})
"""In a checkpoint: the small head's last layer, one row a label of the bank."""


@dataclass(frozen=True)
class Plan:
    """How the student is taught. The defaults make the model that ships."""

    width: float = 0.5
    maps: tuple[int, ...] = (7, 9, 11)
    """Pairs whose means and maxima are taught as hints, and read by the head."""
    windows: int = 1_000_000
    minutes: float = 600.0
    """Ends after so long, all runs together, if the windows are not through by then; the learning rate follows what is
    nearer its end."""
    batch: int = 256
    rate: float = 3e-3
    """Highest learning rate; it rises for a twentieth of the way, then falls as half a cosine."""
    onward_rate: float = 2e-3
    """The same for a student that was taught before."""
    decay: float = 1e-4
    label_share: float = 1.0
    """Weight of the label's cross-entropy; the teacher's words have 1 each, too."""
    voice_weight: float = 8.0
    """Of each class of voices among the logits; the others have 1."""
    voice_share: float = 1.0
    """Weight of the voices' cross-entropy, which is summed over their classes."""
    seed: int = 1
    teachers: int = 1
    """Processes that mix and teach."""


@dataclass(frozen=True)
class Progress:
    windows: int
    seconds: float
    losses: dict[str, float]
    """Running means: ``logits``, ``embedding``, ``hints`` (share of the spread that is not explained), and the
    cross-entropies ``voices`` and ``label``."""


class Pupil(nn.Module):
    """The student with what only teaching needs: projections and a small head."""

    def __init__(self, plan: Plan, classes: int, embedding: int, hints: list[int], labels: int) -> None:
        super().__init__()
        self.student = Student(plan.width, classes, plan.maps)
        channels = self.student.channels
        self.embedding = nn.Linear(channels[-1], embedding)
        self.hints = nn.ModuleList(nn.Linear(2 * channels[n], 2 * h) for n, h in zip(plan.maps, hints, strict=True))
        read = channels[-1] + sum(2 * channels[n] for n in plan.maps)
        self.head = nn.Sequential(
            nn.BatchNorm1d(read), nn.Dropout(0.3), nn.Linear(read, 128), nn.ReLU(), nn.Linear(128, labels)
        )

    def forward(self, patches: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Logits, embedding and hints in the teacher's terms, and the head's logits."""
        with torch.autocast("cpu", torch.bfloat16, enabled=patches.device.type == "cpu"):
            embedding, *maps = self.student(patches)
        embedding = embedding.float()
        pooled = [torch.cat([one.mean((2, 3)), one.amax((2, 3))], 1).float() for one in maps]
        hints = torch.cat([project(one) for project, one in zip(self.hints, pooled, strict=True)], 1)
        logits = self.student.classifier(embedding)
        return logits, self.embedding(embedding), hints, self.head(torch.cat([embedding, *pooled], 1))


def teach(
    bank: Bank, folder: Path, yamnet: Path, plan: Plan, out: Path, progress: Callable[[Progress], None],
    threads: int = 1, device: str = "cpu", onward: Path | None = None,
) -> Student:  # fmt: skip
    """Teach a student and return it, in evaluation mode. ``folder`` is where ``bank`` lies; ``out`` holds checkpoints.
    ``onward``: a checkpoint of another bank, whose student is taught on.

    Raises OSError, GraphError; RuntimeError if a teaching process ends; ValueError: ``onward`` has another shape.
    """
    torch.manual_seed(plan.seed)
    torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    lessons = _lessons(folder, yamnet, plan)
    labels = len(Mixer(bank, 0).labels)
    patches, told, said = next(lessons)
    sizes = [WIDTHS_AND_STRIDES[number - 1][0] for number in plan.maps]
    pupil = Pupil(plan, said.logits.shape[1], said.embedding.shape[1], sizes, labels).to(device)
    pupil = pupil.to(memory_format=torch.channels_last)
    _start_at_the_mean(pupil, said)
    done, before_s = _resume(pupil, out / "checkpoint.npz")
    rate = plan.rate
    if onward is not None:
        rate = plan.onward_rate
        if not done:
            _go_on(pupil, onward)
    voices, weights = _voices(yamnet, plan)
    weights = weights.to(device)
    optimiser = torch.optim.AdamW(pupil.parameters(), rate, weight_decay=plan.decay)
    spread = {
        name: torch.from_numpy(_spread(getattr(said, name))).to(device) for name in ("logits", "embedding", "hints")
    }
    means: dict[str, float] = {}
    saved = time.monotonic()
    started = saved - before_s
    pupil.train()
    part = max(done / plan.windows, before_s / 60 / plan.minutes)
    while part < 1:
        for group in optimiser.param_groups:
            group["lr"] = rate * _schedule(part)
        said_of = {name: torch.from_numpy(getattr(said, name)).to(device) for name in spread}
        logits, embedding, hints, own = pupil(torch.from_numpy(patches).to(device))
        losses = {
            name: ((weights if name == "logits" else 1.0) * ((got - said_of[name]) / spread[name]).square()).mean()
            for name, got in (("logits", logits), ("embedding", embedding), ("hints", hints))
        }
        heard = said_of["logits"][:, voices].sigmoid()
        losses["voices"] = functional.binary_cross_entropy_with_logits(logits[:, voices], heard) * len(voices)
        losses["label"] = functional.cross_entropy(own, torch.from_numpy(told).to(device), ignore_index=UNCLEAR)
        total = losses["logits"] + losses["embedding"] + losses["hints"]
        total = total + plan.label_share * losses["label"] + plan.voice_share * losses["voices"]
        optimiser.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(pupil.parameters(), 5.0)
        optimiser.step()
        done += len(patches)
        part = max(done / plan.windows, (time.monotonic() - started) / 60 / plan.minutes)
        for name, loss in losses.items():
            means[name] = 0.98 * means.get(name, float(loss.detach())) + 0.02 * float(loss.detach())
        if done // plan.batch % 20 == 0:
            progress(Progress(done, time.monotonic() - started, dict(means)))
        if time.monotonic() - saved > 240 or part >= 1:
            saved = time.monotonic()
            _save(pupil, out / "checkpoint.npz", done, saved - started)
        patches, told, said = next(lessons)
    return pupil.student.eval()


def student_of(checkpoint: Path, plan: Plan, classes: int = 521) -> tuple[Student, int]:
    """The student in a checkpoint, in evaluation mode, and the windows that it had heard. Raises OSError, KeyError."""
    student = Student(plan.width, classes, plan.maps)
    with np.load(checkpoint, allow_pickle=False) as file:
        state = {n.removeprefix("student."): torch.from_numpy(file[n]) for n in file.files if n.startswith("student.")}
        done = int(file["done"])
    student.load_state_dict(state)
    return student.eval(), done


def _lessons(folder: Path, yamnet: Path, plan: Plan) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64], Lesson]]:
    from multiprocessing import get_context
    from queue import Empty

    context = get_context("spawn")
    queue: Any = context.Queue(4)
    seed = int(time.time())  # started again, it hears other mixes
    teachers = [
        context.Process(target=_lecture, args=(folder, yamnet, plan, plan.seed + seed + n, queue), daemon=True)
        for n in range(plan.teachers)
    ]
    for teacher in teachers:
        teacher.start()
    try:
        while True:
            try:
                yield queue.get(timeout=30)
            except Empty:
                if not all(teacher.is_alive() for teacher in teachers):
                    raise RuntimeError("a teaching process has ended; its error is above") from None
    finally:
        for teacher in teachers:
            teacher.terminate()


def _lecture(folder: Path, yamnet: Path, plan: Plan, seed: int, queue: Any) -> None:
    mixer, teacher = Mixer(open_bank(folder), seed), Teacher(yamnet.read_bytes(), plan.maps)
    while True:
        mixes = mixer.draw(plan.batch)
        queue.put((mixes.patches, mixes.labels, teacher(mixes.patches)))


def _spread(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Standard deviation of each column, no less than a third of the typical one: dead columns would shout."""
    deviation = values.std(axis=0)
    return np.asarray(np.maximum(deviation, deviation.mean() / 3), np.float32)


def _voices(yamnet: Path, plan: Plan) -> tuple[list[int], torch.Tensor]:
    """Rows of the voices among the teacher's classes, and the weight of each class, with a mean of 1."""
    classes = read_labels(yamnet.read_bytes(), str(yamnet))
    rows = [classes.index(label) for label in audioset.VOICES]
    weights = torch.ones(len(classes))
    weights[rows] = plan.voice_weight
    return rows, weights / weights.mean()


def _start_at_the_mean(pupil: Pupil, said: Lesson) -> None:
    with torch.no_grad():
        pupil.student.classifier.bias.copy_(torch.from_numpy(said.logits.mean(axis=0)))
        pupil.embedding.bias.copy_(torch.from_numpy(said.embedding.mean(axis=0)))
        for bias, part in zip(
            (one.bias for one in pupil.hints), np.split(said.hints.mean(axis=0), len(pupil.hints)), strict=True
        ):
            bias.copy_(torch.from_numpy(part))
        for one in (pupil.student.classifier, pupil.embedding, *pupil.hints):
            one.weight.mul_(0.1)


def _schedule(part: float) -> float:
    return min(1.0, part / 0.05 + 0.02) * 0.5 * (1 + float(np.cos(np.pi * min(part, 1.0)))) + 1e-3


def _save(pupil: Pupil, path: Path, done: int, seconds: float) -> None:
    state = {name: value.detach().cpu().numpy() for name, value in pupil.state_dict().items()}
    temporary = path.with_suffix(".new.npz")
    np.savez(temporary, done=done, seconds=seconds, **state)
    temporary.replace(path)


def _resume(pupil: Pupil, path: Path) -> tuple[int, float]:
    """Windows that were heard, and the seconds that it took."""
    if not path.exists():
        return 0, 0.0
    with np.load(path, allow_pickle=False) as file:
        state = {name: torch.from_numpy(file[name]) for name in file.files if name not in {"done", "seconds"}}
        pupil.load_state_dict(state)
        return int(file["done"]), float(file["seconds"])


def _go_on(pupil: Pupil, checkpoint: Path) -> None:
    """Take over all but the small head's last layer, which knows labels of its own bank."""
    mine = pupil.state_dict()
    with np.load(checkpoint, allow_pickle=False) as file:
        state = {name: torch.from_numpy(file[name]) for name in file.files if name in mine and name not in LABELS}
    other = sorted(name for name in state if state[name].shape != mine[name].shape)
    if missing := sorted(set(mine) - set(state) - LABELS) + other:
        raise ValueError(f"{checkpoint} holds no student of this shape ({missing[0]} is missing or of another shape)")
    pupil.load_state_dict(state, strict=False)
