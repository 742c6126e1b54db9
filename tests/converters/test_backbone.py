"""The backbone comes from where people said, is checked, and its absence is one clear line."""

from pathlib import Path

import pytest

from converters import backbone
from converters.backbone import BackboneError, find_yamnet


def test_named_file_that_does_not_exist_is_said_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"ECOSIGHT_YAMNET names .*nowhere\.tflite"):
        find_yamnet(tmp_path, environment={"ECOSIGHT_YAMNET": str(tmp_path / "nowhere.tflite")})


def test_another_file_is_refused_by_its_hash(tmp_path: Path) -> None:
    wrong = tmp_path / "other.tflite"
    wrong.write_bytes(b"TFL3 but not that one")
    with pytest.raises(BackboneError, match="is not Google's yamnet"):
        find_yamnet(tmp_path, environment={"ECOSIGHT_YAMNET": str(wrong)})


def test_without_a_file_and_without_a_network_one_line_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BackboneError) as caught:
        find_yamnet(tmp_path, environment={}, url="http://127.0.0.1:9/yamnet.tflite")
    assert "set ECOSIGHT_YAMNET" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_download_of_another_content_leaves_nothing_behind(tmp_path: Path) -> None:
    served = tmp_path / "served.tflite"
    served.write_bytes(b"not the model")
    cache = tmp_path / "cache"
    with pytest.raises(BackboneError, match="not the expected file"):
        find_yamnet(cache, environment={}, url=served.as_uri())
    assert not cache.exists()


@pytest.mark.data
def test_google_file_is_taken_from_at_hand_and_downloaded_whole(yamnet: Path, tmp_path: Path) -> None:
    assert find_yamnet(tmp_path, [tmp_path / "absent", yamnet], environment={}) == yamnet
    downloaded = find_yamnet(tmp_path / "cache", environment={}, url=yamnet.as_uri())
    assert downloaded.read_bytes() == yamnet.read_bytes()
    assert len(downloaded.read_bytes()) == backbone.YAMNET_SIZE_BYTES
