"""A model and the sounds it is tried on: made once for all tests."""

from pathlib import Path

import numpy as np
import pytest

from converters.build import model_from_yamnet
from edge.detection.choice import default_model
from trainer.synthesis.scene import ambience, demo_scene

RATE_HZ = 48_000


@pytest.fixture(scope="session")
def model() -> Path:
    """The model that ships."""
    return default_model()


@pytest.fixture(scope="session")
def full_size_model(yamnet: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model file that `ecosight-convert yamnet` makes of Google's network."""
    path = tmp_path_factory.mktemp("model") / "model.tflite"
    model_from_yamnet(yamnet, path)
    return path


@pytest.fixture(scope="session")
def burst(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven seconds with a shot after 1 s and another after 5 s: something to lose early and late."""
    samples, rate_hz, annotations = demo_scene()
    shot = next(a for a in annotations if a.shot)
    first = round(shot.onset_s * rate_hz)
    one = samples[first - rate_hz : first + 3 * rate_hz]
    return _write(tmp_path_factory.mktemp("burst") / "burst.wav", np.concatenate([one, one[: 3 * rate_hz]]), rate_hz)


@pytest.fixture(scope="session")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three minutes of forest without a shot."""
    half_a_minute = ambience(30.0, RATE_HZ, np.random.default_rng(7)).astype(np.float32)
    return _write(tmp_path_factory.mktemp("quiet") / "quiet.wav", np.tile(half_a_minute, 6), RATE_HZ)


def _write(path: Path, samples: np.ndarray, rate_hz: int) -> Path:
    import soundfile

    soundfile.write(path, samples, rate_hz, subtype="PCM_16")
    return path
