"""What is learned from and judged on: clips as they are, in the field, and over beds of their fold; and made sounds.

A `Spec` says all about a rendering in plain values: it is the key under which its embeddings are kept, and what
worker processes get. ``render`` makes it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge.audio.logmel import SAMPLE_RATE_HZ
from trainer.augmentation.field import DEVICE, WAY, Effect, drawn, in_the_field
from trainer.augmentation.mixing import (
    Rendering,
    bed,
    faded,
    gain_to_peak,
    over_bed,
    random_of,
    remembered,
)
from trainer.data.clip import Clip
from trainer.data.labels import BACKGROUND, SHOT
from trainer.learning.made import Made, waveform_of

VERSION = {"plain": 5, "field": 5, "made": 2, "judged": 4}
"""Counted up when renderings of a kind change, or which of their windows are chosen: what the cache holds is then
computed anew."""
SNR_DB = (-3.0, 30.0)
"""Of what is learned from."""
PLAIN_SNR_DB = 45.0
"""Of a shot as it is over its bed."""
PIECE_S = 3.0
"""Of a clip, around a loud moment: what is learned from is not what lies between."""
PAD_S = 0.9
"""Of bed around it: a sound in the field has a before and an after."""
EDGE_S = 0.5
"""Of fading at the ends of what is judged."""
LEAD_S, TAIL_S = 2.5, 1.5
"""Of bed around a whole clip that is judged."""
JUDGED_DB = {SHOT: (20.0, 10.0, 5.0, 0.0)}
OTHERS_DB = (15.0,)
NOT_BURST = frozenset({"burst"})
ONLY_BURST = {"burst": WAY["burst"]}
"""Of the way of made shots: they bring their own distance and forest."""

Kind = Literal["plain", "field", "made", "judged"]


@dataclass(frozen=True)
class Spec:
    """One rendering of one clip."""

    kind: Kind
    path: Path
    sha256: str
    label: str
    recording: str
    number: int = 0
    snr_db: float = 0.0
    """Of ``judged`` ones; the others draw theirs."""
    beds: tuple[Path, ...] = ()
    group: str = ""
    """Which beds these are: a name for them in the key."""
    without: frozenset[str] = frozenset()
    """Effects of the field that are left out, for an ablation."""
    seed: int = 1

    @property
    def key(self) -> str:
        """All that the rendering depends on."""
        return (
            f"v{VERSION[self.kind]} {self.sha256} {self.recording} {self.label} {self.kind} {self.number} "
            f"{self.snr_db:g} {self.group} {','.join(sorted(self.without))} {self.seed}"
        )


def render(spec: Spec) -> Rendering:
    """The sound of a spec. Raises OSError, soundfile's errors."""
    random = random_of(spec.seed, spec.recording, spec.path.name, spec.kind, spec.number, spec.snr_db)
    if spec.kind == "made":
        return _in_the_field(waveform_of(spec.path.name, random), spec, random)
    waveform = remembered(spec.path)
    if spec.kind == "judged":
        return _judged(waveform, spec, random)
    piece = _piece(waveform, random)
    if spec.kind == "plain":
        return _plain(piece, spec, random)
    return _in_the_field(piece, spec, random)


def effects_of(spec: Spec) -> frozenset[str]:
    """The effects of the field that ``render`` applies."""
    if spec.kind not in ("field", "made"):
        return frozenset()
    return (drawn(_of(spec, "way"), _way(spec)) | drawn(_of(spec, "device"), DEVICE)) - _left_out(spec)


def judged_at(label: str) -> Sequence[float]:
    """The ratios at which clips of a label are judged."""
    return JUDGED_DB.get(label, OTHERS_DB)


def learned(
    clips: Iterable[Clip], beds: Mapping[int, Sequence[Clip]], fold_of: Mapping[str, int], variants: int, of_shots: int,
    seed: int, without: frozenset[str] = frozenset(), made: Iterable[Made] = (),
) -> Iterator[Spec]:  # fmt: skip
    """Specs to learn from: each clip as it is, and ``variants`` times in the field (``of_shots`` times for shots), over
    beds of its recording's own fold; and ``made`` sounds, whose names have a fold, too. What none of the effects
    ``without`` was drawn for is the same rendering, with the same key, as with all of them."""
    groups = {fold: _group(beds, fold) for fold in set(fold_of.values())}
    for clip in clips:
        below, group = groups[fold_of[clip.recording]]
        yield Spec("plain", clip.path, clip.sha256, clip.label, clip.recording, seed=seed)
        for number in range(of_shots if clip.label == SHOT else variants):
            spec = Spec(
                "field", clip.path, clip.sha256, clip.label, clip.recording, number, 0.0, below, group, seed=seed
            )
            yield _without(spec, without)
    for one in made:
        below, group = groups[fold_of[one.name]]
        spec = Spec("made", Path(one.kind), "made", one.label, one.name, one.number, 0.0, below, group, seed=seed)
        yield _without(spec, without)


def judged(
    clips: Iterable[Clip], beds: Mapping[int, Sequence[Clip]], fold_of: Mapping[str, int], seed: int
) -> Iterator[Spec]:
    """Specs to judge on: whole clips, at most two of a recording, over beds of their fold; beds as they are."""
    groups = {fold: _group(beds, fold) for fold in set(fold_of.values())}
    seen: dict[str, int] = {}
    for clip in clips:
        seen[clip.recording] = seen.get(clip.recording, 0) + 1
        if clip.label == BACKGROUND:
            yield Spec("judged", clip.path, clip.sha256, clip.label, clip.recording, seed=seed)
            continue
        if seen[clip.recording] > 2:
            continue
        below, group = groups[fold_of[clip.recording]]
        for snr_db in judged_at(clip.label):
            yield Spec("judged", clip.path, clip.sha256, clip.label, clip.recording, 0, snr_db, below, group, seed=seed)


def _group(beds: Mapping[int, Sequence[Clip]], fold: int) -> tuple[tuple[Path, ...], str]:
    chosen = beds.get(fold, ())
    digest = "-".join(sorted(clip.sha256[:8] for clip in chosen))
    return tuple(clip.path for clip in chosen), f"{fold}:{random_of(0, digest).integers(1 << 32):08x}" if chosen else ""


def _without(spec: Spec, effects: frozenset[str]) -> Spec:
    return replace(spec, without=effects & effects_of(spec)) if effects else spec


def _over_its_bed(piece: NDArray[np.float32], spec: Spec, random: np.random.Generator) -> Rendering:
    without = _left_out(spec)
    if spec.label == BACKGROUND or not spec.beds:
        heard = in_the_field(piece, _of(spec, "device"), without, DEVICE) * gain_to_peak(piece, random.uniform(-40, -1))
        return Rendering(heard, heard)
    lead = round(PAD_S * SAMPLE_RATE_HZ)
    below = bed(spec.beds, len(piece) + 2 * lead, random)
    mixed = over_bed(piece, below, lead, float(random.uniform(*SNR_DB)), random)
    heard = in_the_field(mixed.mixed, _of(spec, "device"), without, DEVICE)
    return Rendering(heard, mixed.clean)


def _in_the_field(waveform: NDArray[np.float32], spec: Spec, random: np.random.Generator) -> Rendering:
    # What the microphone does to a sound it does to the bed as well, so that only comes after mixing.
    far = in_the_field(waveform, _of(spec, "way"), _left_out(spec), _way(spec))
    return _over_its_bed(far[: round(2 * PIECE_S * SAMPLE_RATE_HZ)], spec, random)


def _way(spec: Spec) -> Mapping[str, Effect]:
    return ONLY_BURST if spec.kind == "made" and spec.label == SHOT else WAY


def _left_out(spec: Spec) -> frozenset[str]:
    return spec.without if spec.label == SHOT else spec.without | NOT_BURST


def _of(spec: Spec, part: str) -> np.random.Generator:
    """The draws of a chain, a stream of its own: they can be known without the sound."""
    return random_of(spec.seed, spec.recording, spec.path.name, spec.kind, spec.number, part)


def _plain(piece: NDArray[np.float32], spec: Spec, random: np.random.Generator) -> Rendering:
    """The clip as it is. Against digital silence, other sounds have an edge or a fade: neither is a shot, so shots have
    none, and stand over a bed far below them."""
    half = SAMPLE_RATE_HZ // 2
    if spec.label == SHOT and spec.beds:
        return over_bed(piece, bed(spec.beds, len(piece) + 2 * half, random), half, PLAIN_SNR_DB, random)
    if spec.label == SHOT or random.random() < 0.5:
        piece = faded(piece, float(random.uniform(0.02, EDGE_S)))
    clean = np.pad(piece, half)
    return Rendering(clean, clean)


def _judged(waveform: NDArray[np.float32], spec: Spec, random: np.random.Generator) -> Rendering:
    if not spec.beds or spec.label == BACKGROUND:
        return Rendering(waveform, waveform)
    lead, tail = round(LEAD_S * SAMPLE_RATE_HZ), round(TAIL_S * SAMPLE_RATE_HZ)
    below = bed(spec.beds, lead + len(waveform) + tail, random)
    # A file that begins or ends in the middle of its bed holds an edge there that no forest has.
    return over_bed(waveform, faded(below, EDGE_S), lead, spec.snr_db, random)


def _piece(waveform: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """At most `PIECE_S` around one of the loud moments."""
    length = round(PIECE_S * SAMPLE_RATE_HZ)
    if len(waveform) <= length:
        return waveform
    hop = SAMPLE_RATE_HZ // 50
    # A difference is enough of a high-pass to look past rumble.
    inner = np.diff(waveform, prepend=waveform[:1])[: len(waveform) // hop * hop].reshape(-1, hop)
    power = np.square(inner).mean(axis=1)
    loud = np.flatnonzero(power >= 0.2 * power.max(initial=0))
    centre = int(loud[int(random.integers(len(loud)))]) * hop
    start = int(np.clip(centre - random.integers(length // 4, 3 * length // 4), 0, len(waveform) - length))
    return waveform[start : start + length]
