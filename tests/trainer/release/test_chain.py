"""A damaged repository is named, file by file; another's is not taken for ours; and re-signing by a timer."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tuf.api.exceptions import ExpiredMetadataError

from tests.trainer.release.making import Device, Releases, begin, told
from trainer.release.renewal import resign_online
from trainer.release.session import session


@pytest.mark.parametrize("name", ["timestamp", "snapshot", "targets", "models", "rollout", "root"])
@pytest.mark.parametrize("how", ["missing", "cut", "changed", "swapped", "no metadata"])
def test_every_damaged_metadata_file_is_named_and_nothing_is_signed_on_it(
    with_one: Releases, name: str, how: str
) -> None:
    folder = with_one.repository / "metadata"
    file = max(folder.glob(f"*{name}.json"), key=lambda path: path.name)
    content = file.read_bytes()
    if how == "missing":
        file.unlink()
    elif how == "swapped":
        other = "timestamp" if name != "timestamp" else "1.models"
        file.write_bytes((folder / f"{other}.json").read_bytes())
    else:
        document = json.loads(content)
        document["signed"]["expires"] = "2099-01-01T00:00:00Z"
        spoilt = {"cut": content[:-20], "changed": json.dumps(document).encode(), "no metadata": b"{}"}
        file.write_bytes(spoilt[how])
    before = {path: path.read_bytes() for path in folder.iterdir()}
    for command in ("pause", "resign", "status"):
        result = with_one.run(command)
        assert result.exit_code == 1
        assert file.name in told(result)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_missing_and_cut_targets_are_found_by_status(with_one: Releases) -> None:
    assert with_one.run("status", "--check").exit_code == 0
    model = next(with_one.repository.rglob("*.tflite"))
    model.write_bytes(model.read_bytes()[:-1])
    next((with_one.repository / "targets" / "deltas").iterdir()).unlink()
    result = with_one.run("status", "--check")
    assert result.exit_code == 1
    assert model.name in told(result)
    assert "is missing" in told(result)


def test_a_damaged_rollout_file_is_named(with_one: Releases) -> None:
    file = next((with_one.repository / "targets" / "rollout").iterdir())
    file.write_text('{"channel": "stable"}')
    result = with_one.run("widen")
    assert result.exit_code == 1
    assert file.name in told(result)


def test_another_s_repository_in_the_place_of_ours_is_not_signed(with_one: Releases, tmp_path: Path) -> None:
    other = begin(tmp_path / "other", threshold=1)
    with_one.set(repository=str(other.repository))
    result = with_one.run("pause")
    assert result.exit_code == 1
    assert "is not the repository that root.json is of" in told(result)


def test_a_lost_root_of_trust_and_a_wrong_configuration_are_named(with_one: Releases, tmp_path: Path) -> None:
    (with_one.folder / "root.json").rename(tmp_path / "root.json")
    assert "root of trust" in told(with_one.run("pause"))
    (tmp_path / "root.json").rename(with_one.folder / "root.json")
    with_one.set(repository="nowhere")
    assert "no release repository" in told(with_one.run("pause")) or "root.json" in told(with_one.run("pause"))
    with_one.set(repozitory="repository")
    assert "did you mean repository?" in told(with_one.run("pause"))
    (with_one.folder / "release.yaml").unlink()
    assert "release init" in told(with_one.run("pause"))


def test_the_timer_keeps_signatures_fresh_and_makes_few_files(with_one: Releases, device: Device) -> None:
    start = datetime.now(UTC)
    for day in range(40):
        with session(with_one.folder, "release resign", now=start + timedelta(days=day)) as opened:
            chain = resign_online(opened.chain, opened.online)
        for role in ("timestamp", "snapshot", "rollout"):
            assert chain.role(role).signed.expires > start + timedelta(days=day + 6)
    assert chain.timestamp.signed.version == 42
    assert chain.snapshot.signed.version <= 6
    assert device.wanted() == "models/gun-shot-1.tflite"


def test_a_timestamp_that_ran_out_stops_devices_until_it_is_signed_again(with_one: Releases, device: Device) -> None:
    with session(with_one.folder, "in the past", now=datetime.now(UTC) - timedelta(days=8)) as past:
        resign_online(past.chain, past.online)
    with pytest.raises(ExpiredMetadataError):
        device.look()
    assert "RUN OUT: timestamp" in with_one.done("status")
    with_one.done("resign")
    assert device.wanted() == "models/gun-shot-1.tflite"


def test_the_timer_says_when_a_maintainers_role_runs_out(with_one: Releases) -> None:
    assert with_one.run("resign").exit_code == 0
    result = with_one.run("resign", "--warn-days", 400)
    assert result.exit_code == 4
    assert "root holds for 364 days; targets holds for 364 days; models holds for 364 days" in told(result)
