import hashlib
import json
import threading
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge.audio import field_recording
from edge.audio.field_recording import record_field
from edge.audio.source import Sink, SourceError, SourceLost
from edge.settings import EdgeSettings

RATE_HZ = 16_000


def settings(location: Path, **audio: object) -> EdgeSettings:
    return EdgeSettings.model_validate(
        {
            "site": "north",
            "device": "cedar-3",
            "place": {"latitude_deg": -1.5, "longitude_deg": 10.25, "description": "third cedar"},
            "audio": {"source": "file", "location": str(location), "pace": "fast", **audio},
        }
    )


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    rng = np.random.default_rng(4)
    frames = rng.integers(-(2**22), 2**22, (60 * RATE_HZ, 2)).astype(np.int32)
    frames[100, 0] = 2**23 - 1
    soundfile.write(tmp_path / "sound.wav", frames << 8, RATE_HZ, subtype="PCM_24")
    return tmp_path / "sound.wav"


def test_a_recording_holds_the_very_samples_and_says_what_it_is(sound: Path, tmp_path: Path) -> None:
    path = record_field(settings(sound), "gun_shot", 50.0, tmp_path / "out" / "day1", note="200 m, .30-06, wind")
    assert path.name.startswith("gun_shot_20") and path.name.endswith("Z_north_cedar-3.flac")
    recorded, rate_hz = soundfile.read(path, dtype="int32")
    assert rate_hz == RATE_HZ
    truth, _ = soundfile.read(sound, dtype="int32")
    np.testing.assert_array_equal(recorded, truth[: 50 * RATE_HZ, 0])
    said = json.loads(path.with_suffix(".json").read_text())
    assert (said["label"], said["note"], said["site"], said["device"]) == (
        "gun_shot",
        "200 m, .30-06, wind",
        "north",
        "cedar-3",
    )
    assert said["place"]["latitude_deg"] == -1.5
    assert (said["sample_rate_hz"], said["frames"], said["duration_s"], said["channel"]) == (RATE_HZ, 800_000, 50.0, 1)
    assert (said["gaps"], said["problems"], said["clipped_samples"]) == ([], [], 1)
    assert said["peak_dbfs"] == 0.0
    assert said["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    began = datetime.fromisoformat(said["started"]["utc"])
    assert abs((datetime.now(UTC) - began).total_seconds()) < 120
    assert sorted(p.name for p in path.parent.iterdir()) == sorted([path.name, path.with_suffix(".json").name])


def test_the_second_channel_is_recorded_when_it_is_configured(sound: Path, tmp_path: Path) -> None:
    path = record_field(settings(sound, channel=2), "rain", 1.0, tmp_path / "out")
    recorded, _ = soundfile.read(path, dtype="int32")
    truth, _ = soundfile.read(sound, dtype="int32")
    np.testing.assert_array_equal(recorded, truth[:RATE_HZ, 1])


def test_a_source_that_ends_early_leaves_a_shorter_recording(sound: Path, tmp_path: Path) -> None:
    path = record_field(settings(sound), "rain", 100.0, tmp_path)
    assert json.loads(path.with_suffix(".json").read_text())["duration_s"] == 60.0
    assert soundfile.info(path).frames == 60 * RATE_HZ


def test_an_interruption_keeps_what_there_is(sound: Path, tmp_path: Path) -> None:
    def interrupt(so_far_s: float, peak_dbfs: float) -> None:
        if so_far_s >= 5.0:
            raise KeyboardInterrupt

    path = record_field(settings(sound), "rain", 50.0, tmp_path, on_block=interrupt)
    assert soundfile.info(path).duration == pytest.approx(5.0)


@pytest.mark.parametrize("label", ["", "Gun Shot", "../up", "gun-shot", "_x"])
def test_a_label_that_is_none_is_refused(sound: Path, tmp_path: Path, label: str) -> None:
    with pytest.raises(SourceError, match="label"):
        record_field(settings(sound), label, 1.0, tmp_path)


def test_without_sound_the_reason_is_said_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Absent:
        sample_rate_hz, live, description, latency_s = RATE_HZ, True, "absent", 0.0

        def run(self, sink: Sink, stop: threading.Event) -> None:
            raise SourceLost("not_found", "no microphone usb:17a0:0305:")

    monkeypatch.setattr(field_recording, "open_source", lambda _: Absent())
    monkeypatch.setattr(field_recording, "FIRST_SOUND_S", 1.0)
    with pytest.raises(SourceError, match=r"no sound.*no microphone usb:17a0:0305:"):
        record_field(settings(tmp_path / "unused"), "rain", 1.0, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_loss_in_the_middle_is_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Flaky:
        sample_rate_hz, live, description, latency_s = RATE_HZ, False, "flaky", 0.0

        def run(self, sink: Sink, stop: threading.Event) -> None:
            noise = np.random.default_rng(0).normal(0, 0.1, RATE_HZ).astype(np.float32)
            sink.write(noise)
            sink.gap(3 * RATE_HZ // 2, "overflow")
            for _ in range(3):
                sink.write(noise)

    monkeypatch.setattr(field_recording, "open_source", lambda _: Flaky())
    path = record_field(settings(tmp_path / "unused"), "rain", 4.0, tmp_path / "out")
    said = json.loads(path.with_suffix(".json").read_text())
    assert said["gaps"] == [{"start_s": 1.0, "duration_s": 1.5}]
    recorded, _ = soundfile.read(path)
    assert len(recorded) == 4 * RATE_HZ
    assert not recorded[RATE_HZ : 5 * RATE_HZ // 2].any()
    assert recorded[:RATE_HZ].any()
