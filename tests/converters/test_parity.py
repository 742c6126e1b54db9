"""The sound that conversions are compared on, and the figures that decide."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from converters.clips import Clips, ClipsError, Sound, made, read_clips
from converters.parity import INT8, Bound, Parity, compare, ranking
from edge.audio.logmel import log_mel


def write(path: Path, seconds: float, rate: int = 16_000, peak_at_s: float | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = np.random.default_rng(0).standard_normal(int(seconds * rate)) * 0.01
    if peak_at_s is not None:
        frames[int(peak_at_s * rate) :][:100] += 0.8
    soundfile.write(path, frames, rate)


def test_a_folder_of_clips_gives_their_first_loudest_and_last_windows_with_labels(tmp_path: Path) -> None:
    write(tmp_path / "gun_shot" / "long.wav", 5, 44_100, peak_at_s=2.4)
    write(tmp_path / "rain" / "short.flac", 0.3)
    found = read_clips(tmp_path)
    assert [sound.clip for sound in found.sounds] == ["gun_shot/long.wav"] * 3 + ["rain/short.flac"]
    assert [sound.label for sound in found.sounds] == ["gun_shot"] * 3 + ["rain"]
    assert all(sound.patch.shape == (96, 64) and len(sound.waveform) == 15_600 for sound in found.sounds)
    energies = [float(np.square(sound.waveform).sum()) for sound in found.sounds]
    assert np.argmax(energies) == 1
    np.testing.assert_allclose(found.sounds[1].patch, log_mel(found.sounds[1].waveform), atol=1e-3)


def test_labels_of_a_manifest_come_before_those_of_folders(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b.wav", 1)
    (tmp_path / "MANIFEST.csv").write_text("path,label\na/b.wav,siren\n")
    assert {sound.label for sound in read_clips(tmp_path).sounds} == {"siren"}


def test_what_cannot_be_read_is_named_and_the_rest_is_used(tmp_path: Path) -> None:
    write(tmp_path / "good.wav", 1)
    (tmp_path / "bad.wav").write_bytes(b"RIFF nonsense")
    found = read_clips(tmp_path)
    assert len(found.unreadable) == 1 and "bad.wav" in found.unreadable[0]
    assert "1 unreadable" in str(found)


def test_a_folder_without_clips_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClipsError, match="no folder"):
        read_clips(tmp_path / "absent")
    (tmp_path / "bad.wav").write_bytes(b"nonsense")
    with pytest.raises(ClipsError, match="1 were tried"):
        read_clips(tmp_path)


def test_many_clips_are_thinned_evenly(tmp_path: Path) -> None:
    for number in range(9):
        write(tmp_path / f"{number}.wav", 1)
    assert [sound.clip for sound in read_clips(tmp_path, most=3).sounds] == ["0.wav", "3.wav", "6.wav"]


def test_without_clips_there_is_made_sound_from_loud_to_faint() -> None:
    found = made()
    assert len(found.sounds) == 20 and not found.is_real
    peaks = [float(np.abs(sound.waveform).max()) for sound in found.sounds]
    assert max(peaks) > 0.5 and min(peaks) < 0.001


def test_what_calibrates_does_not_judge() -> None:
    one, other = made().halves()
    assert not {sound.clip for sound in one.sounds} & {sound.clip for sound in other.sounds}
    assert len(one.sounds) + len(other.sounds) == 20


def sounds(labels: list[str]) -> Clips:
    random = np.random.default_rng(1)
    patches = [random.standard_normal((96, 64)).astype(np.float32) for _ in labels]
    return Clips(
        tuple(
            Sound(np.zeros(15_600, np.float32), p, x, str(i))
            for i, (p, x) in enumerate(zip(patches, labels, strict=True))
        )
    )


def of_patch(sound: Sound) -> dict[str, np.ndarray]:
    return {"scores": sound.patch[:3, 0], "embedding": sound.patch[:, 1]}


def test_a_faithful_conversion_holds_and_a_noisy_one_fails() -> None:
    clips = sounds(["a"] * 20)
    assert all(one.holds for one in compare(of_patch, of_patch, clips, Bound(1 - 1e-9, largest=0)))

    def noisy(sound: Sound) -> dict[str, np.ndarray]:
        return {**of_patch(sound), "scores": sound.patch[:3, 0] + 0.5 * sound.patch[3:6, 0]}

    by_name = {one.output: one for one in compare(of_patch, noisy, clips, INT8)}
    assert by_name["embedding"].holds and not by_name["scores"].holds
    assert "FAILS" in str(by_name["scores"]) and "FAILS" not in str(by_name["embedding"])


def test_an_output_that_is_lost_or_not_a_number_fails() -> None:
    clips = sounds(["a"] * 5)
    (lost,) = (one for one in compare(of_patch, lambda s: {"embedding": s.patch[:, 1]}, clips, INT8) if not one.holds)
    assert lost.output == "scores"
    broken = compare(of_patch, lambda s: {k: v * np.nan for k, v in of_patch(s).items()}, clips, INT8)
    assert not any(one.holds for one in broken)


def test_ranking_counts_how_often_a_target_is_above_another() -> None:
    scores = np.array([0.9, 0.8, 0.8, 0.1])
    assert ranking(scores, np.array([True, False, False, False])) == 1
    assert ranking(scores, np.array([False, False, False, True])) == 0
    assert ranking(scores, np.array([False, True, False, False])) == pytest.approx((0.5 + 1) / 3)


def test_a_metric_that_drops_fails_even_where_values_correlate() -> None:
    clips = sounds(["gun_shot", "rain"] * 10)

    def good(sound: Sound) -> dict[str, np.ndarray]:
        return {"scores": np.array([100.0 * (sound.label == "gun_shot") + int(sound.clip), 0.0])}

    def swapped(sound: Sound) -> dict[str, np.ndarray]:
        is_one = sound.label == ("rain" if int(sound.clip) > 15 else "gun_shot")
        return {"scores": np.array([100.0 * is_one + int(sound.clip), 0.0])}

    labels = {"scores": ["gun_shot", "background"]}
    (same,) = compare(good, good, clips, Bound(0.5), labels)
    assert same.ranking == (1.0, 1.0) and same.holds
    (worse,) = compare(good, swapped, clips, Bound(0.5), labels)
    assert worse.correlation > 0.5 and worse.ranking is not None and worse.ranking[1] < 0.9 and not worse.holds


def test_constant_outputs_agree_only_when_they_are_equal() -> None:
    clips = sounds(["a"] * 3)
    flat = Bound(0.99)
    (same,) = compare(lambda s: {"x": np.ones(2)}, lambda s: {"x": np.ones(2)}, clips, flat)
    (other,) = compare(lambda s: {"x": np.ones(2)}, lambda s: {"x": np.zeros(2)}, clips, flat)
    assert isinstance(same, Parity) and same.holds and not other.holds
