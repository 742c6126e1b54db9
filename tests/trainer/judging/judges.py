"""Detectors that hear nothing but are on all the same, and sounds that they must fail on: for tests of the scorer."""

from collections.abc import Callable

import numpy as np

from edge.audio.frontend import Window
from edge.detection.model import Model, Scores
from edge.detection.model_file import Decision, Manifest
from trainer.judging.evaluate import JudgedFile
from trainer.judging.sounds import Sound, Sounds

RATE = 16_000
LABELS = ["gun_shot", "rain"]
NONE = np.empty(0, np.float32)


class Deaf:
    """Scores by a rule over the window's start in seconds, or over the window itself."""

    def __init__(self, rule: Callable[[Window], float]) -> None:
        self._rule = rule

    def listen(self, window: Window) -> Scores:
        return self.score(window)

    def score(self, window: Window) -> Scores:
        score = self._rule(window)
        return Scores(np.array([score, 1 - score], np.float32), NONE)


def detector(rule: Callable[[Window], float], certain: float | None = None, version: str = "1") -> JudgedFile:
    """A model whose ``gun_shot`` score is ``rule(window)``."""
    manifest = Manifest(
        name="judge",
        version=version,
        labels=LABELS,
        roles={"gun_shot": "alert", "rain": "background"},
        decisions={"gun_shot": Decision(threshold=0.5, release=0.3, hits={"0.24": 2}, certain=certain)},
    )
    return JudgedFile(Model(manifest, "0" * 64, Deaf(rule)), "0" * 64, 1000)


def hiss(seconds: float, seed: int = 0, level: float = 0.001) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


def clicks(seconds: float, onsets_s: tuple[float, ...], seed: int = 0, peak: float = 0.5) -> np.ndarray:
    """Hiss with a short burst of noise at each onset."""
    sound = hiss(seconds, seed)
    for number, onset_s in enumerate(onsets_s):
        at = round(onset_s * RATE)
        burst = np.random.default_rng([seed, number]).standard_normal(800) * np.exp(-np.arange(800) / 160)
        sound[at : at + 800] += (peak * burst / np.abs(burst).max()).astype(np.float32)
    return sound


def field(minutes: int = 24, shots: int = 24) -> Sounds:
    """``minutes`` of field sound without a shot, in recordings of two minutes, and ``shots`` sounds of 12 s with one
    shot each, at two ratios, at times that no period fits."""
    random = np.random.default_rng(3)
    quiet = hiss(120)
    sounds = [Sound(f"field {k}", "rain", samples=quiet) for k in range(minutes // 2)]
    for number in range(shots):
        onset = round(float(random.uniform(2.5, 10.5)), 3)
        sound = clicks(12.0, (onset,), number)
        snr = (20.0, 5.0)[number % 2]
        sounds.append(
            Sound(f"gun {number // 2}", "gun_shot", (onset,), snr_db=snr, samples=sound, name=f"shot {number}")
        )
    return Sounds("field", "1", sounds)


def loud(window: Window) -> float:
    """A real, if simple, detector: what peaks in the window's middle."""
    peak = float(np.abs(window.waveform[800:13_600]).max())
    return float(np.clip(peak / 0.4, 0.01, 0.99))
