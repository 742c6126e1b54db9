"""Fixtures that all tests share: the real servers and the recordings."""

import os
from pathlib import Path

import pytest

pytest_plugins = ["tests.plan", "tests.scenes", "tests.servers.mosquitto", "tests.servers.pulse", "tests.servers.s3"]

REPOSITORY = Path(__file__).resolve().parent.parent


def data_folder() -> Path | None:
    """Where the recordings and Google's model are: ``ECOSIGHT_DATA``, else ``../shared/data`` beside the project."""
    named = os.environ.get("ECOSIGHT_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    return folder if (folder / "MANIFEST.csv").is_file() else None


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of recordings. Absent, the test is skipped; named or expected and absent, under
    ``ECOSIGHT_REQUIRE_ALL=1``, that is a failure."""
    folder = data_folder()
    if folder is not None:
        return folder
    expected = os.environ.get("ECOSIGHT_DATA") or (REPOSITORY.parent / "shared" / "data").exists()
    if os.environ.get("ECOSIGHT_REQUIRE_ALL") == "1" and expected:
        pytest.fail("recordings are expected but MANIFEST.csv is not there")
    pytest.skip("MISSING DATA: no recordings (set ECOSIGHT_DATA)")


@pytest.fixture(scope="session")
def yamnet(data: Path) -> Path:
    """Google's waveform-in ``yamnet.tflite``."""
    return data / "yamnet" / "yamnet.tflite"
