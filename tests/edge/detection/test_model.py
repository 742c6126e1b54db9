"""Loading and running models."""

import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge.audio.frontend import FrontEnd, Window
from edge.audio.logmel import WINDOW_SAMPLES, log_mel
from edge.detection.model import load, load_bytes
from edge.detection.model_file import ModelFileError, build
from tests.edge.detection import tiny


def window(seed: int = 0, level: float = 0.1) -> Window:
    waveform = (np.random.default_rng(seed).standard_normal(WINDOW_SAMPLES) * level).astype(np.float32)
    return Window(0, log_mel(waveform), waveform, len(waveform))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.tflite"
    path.write_bytes(tiny.model_bytes())
    return path


def test_a_model_gives_scores_for_its_labels_and_context(path: Path) -> None:
    model = load(path, verify=False)
    scores = model.score(window())
    assert scores.labels.shape == (2,) and scores.context.shape == (3,)
    assert model.alert_labels == ["gun_shot"]
    assert model.name.name == "tiny" and model.name.sha256 == model.sha256
    assert not np.array_equal(scores.labels, model.score(window(1, 0.001)).labels)


def test_scores_stay_as_they_were_when_the_next_window_is_scored(path: Path) -> None:
    model = load(path, verify=False)
    first = model.score(window())
    kept = first.labels.copy()
    model.score(window(1, 0.001))
    assert np.array_equal(first.labels, kept)


def test_speech_is_the_highest_of_all_labels_of_voices(path: Path) -> None:
    model = load(path, verify=False)
    scores = model.score(window())
    assert model.has_speech
    assert model.speech(scores) == pytest.approx(float(scores.context[:2].max()))


def test_a_model_without_labels_of_voices_cannot_hear_speech() -> None:
    model = load_bytes(tiny.model_bytes(speech_label=None, roles={"gun_shot": "alert", "background": "background"}))
    assert not model.has_speech
    assert model.speech(model.score(window())) is None


def test_several_threads_may_score_at_once(path: Path) -> None:
    model = load(path, verify=False)
    windows = [window(seed, 0.01 * (seed + 1)) for seed in range(4)]
    wanted = [model.score(one).labels.copy() for one in windows]
    wrong = []

    def work(number: int) -> None:
        for _ in range(200):
            if not np.array_equal(model.score(windows[number]).labels, wanted[number]):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_graph_of_other_shapes_than_the_manifest_promises_is_refused() -> None:
    narrow = build(tiny.graph(width=32), tiny.manifest(), None, "")
    with pytest.raises(ModelFileError, match="patch"):
        load_bytes(narrow)
    deaf = build(tiny.graph(outputs=("scores",)), tiny.manifest(), None, "")
    with pytest.raises(ModelFileError, match="context"):
        load_bytes(deaf)
    more = {"labels": ["gun_shot", "a", "b"], "roles": {"gun_shot": "alert", "a": "background", "b": "background"}}
    with pytest.raises(ModelFileError, match="scores"):
        load_bytes(build(tiny.graph(), tiny.manifest(**more), None, ""))


def test_a_bare_graph_that_takes_patches_is_refused_with_the_next_step() -> None:
    with pytest.raises(ModelFileError, match="manifest"):
        load_bytes(tiny.graph())


def test_something_that_is_no_graph_is_refused() -> None:
    for content in (b"", b"RIFF" + b"\0" * 100, b"\0\0\0\0TFL3" + b"\xff" * 500):
        with pytest.raises(ModelFileError):
            load_bytes(content)


@pytest.mark.data
def test_googles_waveform_model_is_taken_as_it_is_and_hears_shots(yamnet: Path, data: Path) -> None:
    model = load(yamnet, verify=False)
    assert model.alert_labels == ["gun_shot"] and model.has_speech
    loud = []
    for clip in sorted((data / "audio" / "sesa").rglob("gunshot_0*.flac"))[:20]:
        frames, rate = soundfile.read(clip, dtype="float32")
        scores = [model.score(one) for one in FrontEnd(rate, 0.24).push(0, frames)]
        loud.append(max(float(one.labels[0]) for one in scores))
        assert all(0 <= model.speech(one) <= 1 for one in scores)
    assert np.mean(np.array(loud) > 0.3) > 0.5
    noise = FrontEnd(16_000, 0.24).push(0, (np.random.default_rng(0).standard_normal(32_000) * 0.01).astype(np.float32))
    assert max(float(model.score(one).labels[0]) for one in noise) < 0.1
