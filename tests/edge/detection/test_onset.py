"""Onsets: to a few milliseconds, at every rate, in noise, and reflections are not shots."""

import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

from edge.detection.onset import SILENCE_DBFS, find_impulses, level_dbfs
from trainer.synthesis.scene import ambience
from trainer.synthesis.shot import Gun, Place, gunshot, shaped

DRY = Place(tail=0.5, trunks=0, ground=0.0, overload=1.0)
"""A shot alone: no reflection that could count."""


def forest(distance_m: float) -> Place:
    """Ground, trunks, a tail with twice the energy of the direct sound, a microphone that is not overloaded."""
    return Place(distance_m=distance_m, tail=2.0, reverberation_s=1.3, trunks=20, ground=0.7, overload=1.0)


def in_band_rms(samples: NDArray[np.float64], rate: int) -> float:
    band = shaped(samples, rate, lambda f: np.asarray((f > 300) & (f < 6000), dtype=np.float64))
    return float(np.sqrt(np.mean(np.square(band))))


def mixed(
    shot: NDArray[np.float32], noise: NDArray[np.float64], at: int, snr_db: float, rate: int
) -> NDArray[np.float32]:
    """The shot in noise; SNR of its first 0.3 s, 300 to 6000 Hz."""
    gain = in_band_rms(noise, rate) / in_band_rms(shot[: round(0.3 * rate)].astype(np.float64), rate)
    out = noise.copy()
    count = min(len(shot), len(out) - at)
    out[at : at + count] += gain * 10 ** (snr_db / 20) * shot[:count]
    return (0.5 * out / np.abs(out).max()).astype(np.float32)


def strongest(samples: NDArray[np.float32], rate: int) -> float:
    impulses = find_impulses(samples, rate)
    return max(impulses, key=lambda one: one.strength_db).onset if impulses else float("inf")


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("snr_db", [20, 5])
def test_the_onset_in_a_synthetic_forest_is_found_to_a_few_milliseconds(rate: int, snr_db: float) -> None:
    errors_ms = []
    for seed in range(7):
        random = np.random.default_rng(seed)
        noise = ambience(1.8, rate, random)
        at = int(random.integers(round(0.6 * rate), round(1.0 * rate)))
        place = forest(float(random.uniform(60, 400)))
        shot = gunshot(Gun(positive_phase_s=float(random.uniform(0.0006, 0.003))), place, rate, random)
        errors_ms.append(abs(strongest(mixed(shot, noise, at, snr_db, rate), rate) - at) / rate * 1e3)
    assert np.median(errors_ms) < 2.5


@pytest.mark.data
@pytest.mark.parametrize("snr_db", [20, 10, 5])
def test_the_onset_in_real_ambience_is_found_within_five_milliseconds(data, snr_db: float) -> None:  # type: ignore[no-untyped-def]
    rate, errors_ms = 48_000, []
    files = sorted((data / "audio" / "ambience").rglob("*.*"))
    files = [file for file in files if file.suffix in {".flac", ".ogg", ".wav"}]
    for seed, file in enumerate(files[:: max(1, len(files) // 16)][:16]):
        random = np.random.default_rng(seed)
        with soundfile.SoundFile(file) as recording:
            frames = recording.read(2 * recording.samplerate, dtype="float64", always_2d=True)[:, 0]
            noise = soxr.resample(frames, recording.samplerate, rate)
        shot = gunshot(Gun(0.001), forest(float(random.uniform(60, 300))), rate, random)
        at = round(0.8 * rate) + int(random.integers(0, rate // 4))
        errors_ms.append(abs(strongest(mixed(shot, noise, at, snr_db, rate), rate) - at) / rate * 1e3)
    assert len(errors_ms) >= 8
    assert np.median(errors_ms) < 5


@pytest.mark.parametrize("apart_s", [0.08, 0.1, 0.3, 0.7])
def test_the_shots_of_a_burst_are_counted(apart_s: float) -> None:
    rate, random = 48_000, np.random.default_rng(3)
    sound = ambience(5, rate, random)
    onsets = [round((1 + k * apart_s) * rate) for k in range(5)]
    for at in onsets:
        shot = gunshot(Gun(), DRY, rate, random)[: len(sound) - at]
        sound[at : at + len(shot)] += 0.3 * shot
    # In 5 s of forest other things may rise too; the loud ones are the shots.
    found = [one.onset for one in find_impulses(sound.astype(np.float32), rate) if one.level_dbfs > -18]
    assert len(found) == 5
    assert np.abs(np.subtract(found, onsets)).max() < 0.005 * rate


@pytest.mark.parametrize(
    ("delay_s", "gain", "count"), [(0.012, 0.8, 1), (0.05, 0.9, 1), (0.12, 0.5, 1), (0.12, 1.0, 2)]
)
def test_a_weaker_reflection_is_not_a_shot_and_an_equal_one_is(delay_s: float, gain: float, count: int) -> None:
    rate, random = 48_000, np.random.default_rng(4)
    sound = 1e-4 * random.standard_normal(2 * rate)
    shot = gunshot(Gun(), DRY, rate, random)[: rate // 2]
    for at_s, size in ((1.0, 0.5), (1.0 + delay_s, 0.5 * gain)):
        at = round(at_s * rate)
        sound[at : at + len(shot)] += size * shot
    assert len(find_impulses(sound.astype(np.float32), rate)) == count


def test_steady_noise_silence_and_nothing_hold_no_onset() -> None:
    rate = 16_000
    noise = 0.1 * np.random.default_rng(5).standard_normal(10 * rate).astype(np.float32)
    assert find_impulses(noise, rate) == []
    assert find_impulses(np.zeros(rate, np.float32), rate) == []
    assert find_impulses(np.zeros(0, np.float32), rate) == []
    assert level_dbfs(np.zeros(0, np.float32)) == SILENCE_DBFS


def test_the_level_is_the_peak_in_dbfs() -> None:
    rate = 48_000
    sound = np.full(rate, 1e-4, np.float32)
    sound[rate // 2] = 0.5
    (impulse,) = find_impulses(sound, rate)
    assert impulse.level_dbfs == pytest.approx(-6.02, abs=0.01)
    assert abs(impulse.onset - rate // 2) < 0.002 * rate
