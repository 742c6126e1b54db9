"""Which files hold the same sound."""

import io
from collections.abc import Callable

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.trainer.data.sounds import sound
from trainer.data.duplicates import Reader, candidates, groups, is_copy
from trainer.data.fingerprint import Fingerprint, Fingerprinter

Waveform = NDArray[np.float32]


def fingerprint(waveform: Waveform, block: int = 16000) -> Fingerprint:
    printer = Fingerprinter()
    for start in range(0, len(waveform), block):
        printer.push(waveform[start : start + block])
    return printer.finish()


def reader(waveform: Waveform) -> Reader:
    return lambda start, stop: waveform[max(0, round(start * 16000)) : max(0, round(stop * 16000))]


def copies(*waveforms: Waveform) -> set[tuple[int, int]]:
    """Pairs that are found, by number."""
    found = candidates([fingerprint(one) for one in waveforms])
    return {(c.one, c.other) for c in found if is_copy(c, reader(waveforms[c.one]), reader(waveforms[c.other]))}


def through(waveform: Waveform, kind: str, rate_hz: int = 16000, quality: float | None = None) -> Waveform:
    """Written to a file at a rate and read again at 16 kHz."""
    at_rate = waveform if rate_hz == 16000 else soxr.resample(waveform, 16000, rate_hz)
    file = io.BytesIO()
    options = {} if quality is None else {"compression_level": quality}
    soundfile.write(file, np.clip(at_rate, -1, 1), rate_hz, format=kind, **options)
    file.seek(0)
    back: Waveform = soundfile.read(file, dtype="float32")[0]
    return back if rate_hz == 16000 else soxr.resample(back, rate_hz, 16000)


VERSIONS: dict[str, Callable[[Waveform], Waveform]] = {
    "the same": lambda x: x,
    "twelve dB softer, 16 bits": lambda x: through(x / 4, "WAV"),
    "twelve dB louder, clipped": lambda x: through(x * 4, "WAV"),
    "upside down": lambda x: -x,
    "44.1 kHz": lambda x: through(x, "WAV", 44100),
    "8 kHz": lambda x: through(x, "WAV", 8000),
    "an MP3 of low quality": lambda x: through(x, "MP3", quality=0.7),
    "an Ogg of low quality": lambda x: through(x, "OGG", quality=0.8),
    "its second half, cut anywhere": lambda x: x[len(x) // 2 + 77 :],
    "a cut of it, as an MP3 at 22.05 kHz": lambda x: through(x[len(x) // 4 + 77 : -5000], "MP3", 22050),
    "in the middle of something else": lambda x: np.concatenate([sound(98, 1.3), x, sound(99, 0.7)]),
}


@pytest.mark.parametrize("change", VERSIONS.values(), ids=VERSIONS.keys())
def test_a_copy_is_found_whatever_was_done_to_it(change: Callable[[Waveform], Waveform]) -> None:
    originals = [sound(seed, 5.0) for seed in range(6)]
    found = copies(*originals, *(change(one).astype(np.float32) for one in originals))
    wanted = {(number, number + 6) for number in range(6)}
    if change is VERSIONS["in the middle of something else"]:
        found = {pair for pair in found if pair[0] < 6}  # the surroundings are the same six times
    assert found == wanted


def test_strangers_are_no_copies() -> None:
    assert copies(*(sound(seed, 4.0) for seed in range(60))) == set()


def test_alarms_of_one_kind_are_no_copies() -> None:
    """They share pitch and rhythm as nearly as two clocks do; that makes them no one recording."""
    time_s = np.arange(5 * 16000) / 16000
    random = np.random.default_rng(1)

    def alarm(number: int) -> Waveform:
        pitch_hz, beat_hz = random.normal(2048, 4), random.normal(4, 0.02)
        tone = np.sin(2 * np.pi * pitch_hz * time_s + number) * (np.floor(beat_hz * time_s + number / 7) % 2)
        return (0.05 * sound(number, 5.0) + 0.3 * tone).astype(np.float32)

    assert copies(*(alarm(number) for number in range(20))) == set()


def test_digital_silence_is_no_common_sound() -> None:
    silence = np.zeros(5 * 16000, np.float32)
    assert copies(silence, silence, np.concatenate([silence, sound(1)]), np.concatenate([silence, sound(2)])) == set()


def test_a_fingerprint_does_not_depend_on_blocks() -> None:
    waveform = sound(3, 70.0)
    one, other = fingerprint(waveform, 1_000_000_000), fingerprint(waveform, 777)
    np.testing.assert_array_equal(one.at_ms, other.at_ms)
    np.testing.assert_array_equal(one.codes, other.codes)
    back = Fingerprint.of_bytes(one.to_bytes())
    np.testing.assert_array_equal(back.at_ms, one.at_ms)
    np.testing.assert_array_equal(back.codes, one.codes)


@pytest.mark.parametrize("samples", [0, 1, 399, 16000])
def test_the_shortest_sound_has_a_fingerprint_too(samples: int) -> None:
    found = fingerprint(sound(1, 1.0)[:samples])
    assert len(found.at_ms) == len(found.codes)


def test_only_pairs_with_a_new_file_are_looked_at_again() -> None:
    same = sound(1, 4.0)
    prints = [fingerprint(one) for one in (same, same, same)]
    assert {(c.one, c.other) for c in candidates(prints, np.array([False, False, True]))} == {(0, 2), (1, 2)}
    assert candidates(prints, np.zeros(3, np.bool_)) == []
    assert candidates([]) == []


def test_the_work_stays_bounded_where_everything_is_alike() -> None:
    """Two thousand anchors with one code: every one is compared with a bounded number of others."""
    codes = np.full(20, 7, np.uint64)
    prints = [Fingerprint(np.arange(20, dtype=np.uint32) * 100, codes) for _ in range(100)]
    assert len(candidates(prints)) <= 100 * 64


@given(st.integers(1, 30).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.tuples(*[st.integers(0, n - 1)] * 2)))))
def test_groups_are_what_hangs_together(case: tuple[int, list[tuple[int, int]]]) -> None:
    count, pairs = case
    of = groups(count, pairs)
    assert all(of[one] == of[other] for one, other in pairs)
    assert all(of[i] <= i and of[of[i]] == of[i] for i in range(count))
    assert len(set(of)) >= count - len(pairs)
