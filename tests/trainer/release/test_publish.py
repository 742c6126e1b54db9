"""From a model file to what a device finds: signatures over several sittings, stages, and what is refused."""

import hashlib
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge.detection.choice import default_model
from edge.updates.fetching import deltas
from edge.updates.fetching.deltas import NOTHING
from edge.updates.fetching.limits import Limits
from edge.updates.release import Floor, ModelTarget, Overlay, Wheelhouse
from tests.trainer.release.making import Device, Releases, another_model, told
from trainer.release import contents, placing
from trainer.release import session as session_module
from trainer.release.change import Change
from trainer.release.rotation import renewed
from trainer.release.session import session


def test_nothing_goes_out_before_two_of_three_have_signed(
    releases: Releases, device: Device, models: list[Path]
) -> None:
    first = releases.run("publish", models[0], "--fraction", 0.1, *releases.keys("alice"))
    assert first.exit_code == 3
    assert "signed: models: alice" in told(first)
    assert "models wants 1 more of: bob" in told(first)
    assert "carol" in told(first)
    assert device.rollout() is None
    again = releases.run("sign", "--yes", *releases.keys("alice"))
    assert again.exit_code == 3
    assert device.rollout() is None
    said = releases.done("sign", "--yes", *releases.keys("carol"))
    assert "+ models/gun-shot-1.tflite: number 1" in said
    stage = device.rollout().model  # type: ignore[union-attr]
    assert (stage.wanted, stage.fraction, stage.otherwise) == ("models/gun-shot-1.tflite", 0.1, None)
    assert device.content(stage.wanted) == models[0].read_bytes()
    assert "nothing waits" in releases.done("sign")


def test_a_signer_is_shown_what_is_signed_and_may_decline(releases: Releases, models: list[Path]) -> None:
    releases.run("publish", models[0], *releases.keys("alice"))
    waiting = releases.repository / "pending" / "change.json"
    document = json.loads(waiting.read_text())
    document["what"] = "something harmless"
    waiting.write_text(json.dumps(document))
    declined = releases.run("sign", *releases.keys("bob"))
    assert declined.exit_code == 1
    assert "+ models/gun-shot-1.tflite: number 1" in told(declined)
    assert "bob" not in json.loads(waiting.read_text())["metadata"]["models"]
    assert "dropped" in releases.done("sign", "--discard")
    assert not waiting.exists()


def test_a_release_goes_through_all_its_stages(with_one: Releases, device: Device, models: list[Path]) -> None:
    def stage() -> tuple[str, float, str | None, bool]:
        found = device.rollout()
        assert found is not None and found.model is not None
        return found.model.wanted, found.model.fraction, found.model.otherwise, found.model.paused

    one, two, three = (f"models/gun-shot-{number}.tflite" for number in (1, 2, 3))
    assert stage() == (one, 1.0, None, False)
    with_one.done("publish", models[1], "--fraction", 0.1, *with_one.keys("alice", "bob"))
    assert stage() == (two, 0.1, one, False)
    with_one.done("widen", "--fraction", 0.5)
    assert stage() == (two, 0.5, one, False)
    with_one.done("pause")
    assert stage() == (two, 0.5, one, True)
    refused = with_one.run("widen")
    assert refused.exit_code == 1
    assert "paused" in told(refused)
    with_one.done("resume")
    with_one.done("publish", models[2], "--fraction", 0.2, *with_one.keys("bob", "carol"))
    # The two was only tried by some: the others have the one.
    assert stage() == (three, 0.2, one, False)
    with_one.done("widen")
    assert stage() == (three, 1.0, one, False)
    said = with_one.done("withdraw")
    assert f"go back to {one} (number 1)" in " ".join(said.split())
    assert stage() == (one, 1.0, None, False)
    nothing = with_one.run("withdraw")
    assert nothing.exit_code == 1
    assert "nothing older" in told(nothing)
    with_one.done("withdraw", "--to", 2)
    assert stage() == (two, 1.0, None, False)


def test_a_signed_model_goes_to_another_channel_without_maintainers(
    with_one: Releases, device: Device, models: list[Path]
) -> None:
    with_one.done("publish", models[0], "--channel", "beta", "--fraction", 0.3)
    with_one.done("publish", "models/gun-shot-1.tflite", "--channel", "canary")
    for channel, fraction in (("beta", 0.3), ("canary", 0.1)):
        found = device.rollout(channel)
        assert found is not None and found.model is not None
        assert (found.model.wanted, found.model.fraction) == ("models/gun-shot-1.tflite", fraction)


def test_numbers_grow_and_a_folder_of_the_store_may_be_named(
    with_one: Releases, device: Device, models: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "models" / "20260102-1-abcdef01"
    folder.mkdir(parents=True)
    shutil.copy(models[1], folder / "model.tflite")
    with_one.done("publish", folder, *with_one.keys("alice", "bob"))
    info = device.look().get_targetinfo("models/gun-shot-2.tflite")
    assert info is not None
    custom = ModelTarget.model_validate(info.custom)
    assert (custom.number, custom.name, custom.version) == (2, "gun-shot", "2")
    for start in (models[0], None):
        delta = custom.deltas[hashlib.sha256(start.read_bytes()).hexdigest() if start else NOTHING]
        patch, made = tmp_path / "patch", tmp_path / "made"
        patch.write_bytes(device.content(delta.target) or b"")
        deltas.apply(start, patch, made, info.length)
        assert made.read_bytes() == models[1].read_bytes()
        assert delta.length == patch.stat().st_size < info.length * (0.1 if start else 1)


def test_a_version_is_never_used_twice(with_one: Releases, models: list[Path], tmp_path: Path) -> None:
    same = with_one.run("publish", models[0], *with_one.keys("alice", "bob"))
    assert same.exit_code == 1
    assert "on stable already, for 100%" in told(same)
    found = another_model(tmp_path / "other.tflite", "1")
    from edge.detection.model_file import build, read

    file = read(found)
    found.write_bytes(build(file.graph, file.manifest, file.golden, file.card + "\nanother card\n"))
    other = with_one.run("publish", found, *with_one.keys("alice", "bob"))
    assert other.exit_code == 1
    assert "signed before with other contents" in told(other)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["models/never-signed.tflite"], "signed no model"),
        (["MISSING.tflite"], "signed no model"),
        ([], "give one of MODEL, --program or --overlay"),
        (["MODEL", "--program", "x"], "give one of MODEL, --program or --overlay"),
        (["MODEL", "--fraction", "2"], "less than or equal to 1"),
        (["MODEL", "--fraction", "-0.1"], "greater than or equal to 0"),
        (["MODEL", "--fraction", "nan"], "--fraction"),
        (["MODEL", "--channel", "nightly"], "nightly"),
        (["BARE"], "is not a model file"),
        (["CUT"], "damaged"),
        (["FOLDER"], "cannot read model"),
        (["MODEL", "--key", "NOWHERE"], "is the stick in?"),
    ],
)
def test_what_cannot_be_released_is_refused(
    releases: Releases, models: list[Path], tmp_path: Path, arguments: list[str], expected: str
) -> None:
    cut, bare, folder = tmp_path / "cut.tflite", tmp_path / "bare.tflite", tmp_path / "folder"
    content = default_model().read_bytes()
    cut.write_bytes(content[:5000] + b"x" + content[5001:])
    bare.write_bytes(content[:1_000_000])
    folder.mkdir()
    names = {"MODEL": models[0], "CUT": cut, "BARE": bare, "FOLDER": folder, "NOWHERE": tmp_path / "nowhere"}
    before = {path: path.read_bytes() for path in (releases.repository / "metadata").iterdir()}
    result = releases.run("publish", *(names.get(one, one) for one in arguments))
    assert result.exit_code in (1, 2)
    assert expected in told(result)
    assert {path: path.read_bytes() for path in (releases.repository / "metadata").iterdir()} == before
    assert not (releases.repository / "pending" / "change.json").exists()


def test_a_model_that_hurts_the_interpreter_is_refused_and_hurts_nobody(releases: Releases, tmp_path: Path) -> None:
    from edge.detection.model_file import build, read

    file = read(default_model())
    graph = bytearray(file.graph)
    graph[200:4200] = bytes(4000)
    path = tmp_path / "hostile.tflite"
    path.write_bytes(build(bytes(graph), file.manifest, file.golden, file.card))
    result = releases.run("publish", path, *releases.keys("alice", "bob"))
    assert result.exit_code == 1
    assert "hostile.tflite" in told(result)


def test_a_wrong_passphrase_and_a_foreign_medium_sign_nothing(
    releases: Releases, models: list[Path], tmp_path: Path
) -> None:
    wrong = releases.run("publish", models[0], *releases.keys("alice"), passphrase="another passphrase")
    assert wrong.exit_code == 1
    assert "wrong passphrase for" in told(wrong)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "models-00000000.pem").write_text("not one of ours")
    result = releases.run("publish", models[0], "--key", foreign)
    assert result.exit_code == 3
    assert "models wants 2 more of: alice" in told(result)


def test_a_second_change_waits_for_the_first(releases: Releases, models: list[Path]) -> None:
    releases.run("publish", models[0], *releases.keys("alice"))
    result = releases.run("publish", models[1], *releases.keys("alice"))
    assert result.exit_code == 1
    assert "waits for signatures" in told(result)
    assert "models wants 1 more of" in told(result)


def test_two_maintainers_at_once_are_told_apart(releases: Releases) -> None:
    with session(releases.folder, "release publish"):
        result = releases.run("pause")
    assert result.exit_code == 1
    assert "already running" in told(result)
    assert "release publish by" in told(result)


def test_a_missing_online_key_is_named(with_one: Releases, device: Device) -> None:
    key = next((with_one.folder / "online").glob("rollout-*"))
    key.unlink()
    result = with_one.run("pause")
    assert result.exit_code == 1
    assert key.name in told(result)
    assert "rotate-key rollout" in told(result)
    assert device.wanted() == "models/gun-shot-1.tflite"


def test_an_expired_offline_role_stops_releases_until_it_is_renewed(
    with_one: Releases, device: Device, models: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=400)
    with session(with_one.folder, "in the past", now=long_ago) as past:
        change = Change("old", "alice", long_ago, renewed(past.chain, ["targets"], past.online))
        monkeypatch.setenv("ECOSIGHT_RELEASE_PASSPHRASE", "made up for the tests alone")
        media = [with_one.medium(name) for name in ("alice", "bob")]
        now = session_module.Session(past.settings, past.place, past.chain, datetime.now(UTC))
        assert now.sign(change, session_module.keyring(media, None), lambda _: None)
    for command in (["widen"], ["pause"], ["withdraw"], ["publish", models[1], *with_one.keys("alice", "bob")]):
        result = with_one.run(*command)
        assert result.exit_code == 1
        assert "targets ran out on" in told(result)
    resigned = with_one.run("resign")
    assert resigned.exit_code == 4
    assert "targets has run out" in told(resigned)
    with_one.done("resign", "--offline", *with_one.keys("bob", "carol"))
    with_one.done("pause")
    assert device.wanted() == "models/gun-shot-1.tflite"


def test_an_overlay_is_checked_and_released(releases: Releases, device: Device, tmp_path: Path) -> None:
    file = tmp_path / "overlay.yaml"
    file.write_text("id: storm\nsites: [forest]\nthreshold_offset: 0.05\nmute_until: 2026-12-01T00:00:00Z\n")
    releases.done("overlay", file, *releases.keys("alice", "bob"))
    stage = device.rollout().overlay  # type: ignore[union-attr]
    assert (stage.wanted, stage.fraction) == ("overlays/storm.json", 1.0)
    found = Overlay.model_validate_json(device.content(stage.wanted) or b"")
    assert (found.threshold_offset, found.sites) == (0.05, ["forest"])
    assert found.mute_until == datetime(2026, 12, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id: a\nthreshhold_offset: 0.1\n", "unknown key threshhold_offset"),
        ("id: a\nthreshold_offset: 3\n", "threshold_offset"),
        ("id: a\nhop_s: 5\n", "hop_s"),
        ("id: a\nmute_until: 2026-12-01T00:00:00\n", "mute_until"),
        ("threshold_offset: 0.1\n", "id"),
        ("- id\n", "is no overlay"),
        ("{", "overlay.yaml, line 1: not YAML: expected the node content"),
    ],
)
def test_a_wrong_overlay_is_refused(releases: Releases, tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "overlay.yaml"
    file.write_text(text)
    result = releases.run("publish", "--overlay", file, *releases.keys("alice", "bob"))
    assert result.exit_code == 1
    assert expected in told(result)


def wheelhouse(folder: Path, machine: str, version: str = "1.2.3") -> Path:
    folder.mkdir()
    for name in (f"ecosight-{version}-py3-none-any.whl", f"numpy-2.2.0-cp311-cp311-manylinux_2_17_{machine}.whl"):
        (folder / name).write_bytes(f"{name} {machine}".encode())
    return folder


def test_a_program_is_released_for_both_machines(releases: Releases, device: Device, tmp_path: Path) -> None:
    folders = [wheelhouse(tmp_path / machine, machine) for machine in ("x86_64", "aarch64")]
    programs = [part for folder in folders for part in ("--program", folder)]
    releases.done("publish", *programs, *releases.keys("alice", "bob"))
    stage = device.rollout().program  # type: ignore[union-attr]
    assert (stage.wanted, stage.fraction) == ("programs/1.2.3", 0.1)
    for machine, folder in zip(("x86_64", "aarch64"), folders, strict=True):
        house = Wheelhouse.model_validate_json(device.content(f"{stage.wanted}/{machine}.json") or b"")
        assert house.machine == machine
        assert {device.content(path) for path in house.wheels} == {path.read_bytes() for path in folder.iterdir()}


def test_a_wheelhouse_that_no_device_could_install_is_refused(releases: Releases, tmp_path: Path) -> None:
    cases = {
        "holds what is no wheel: numpy.tar.gz": lambda folder: (folder / "numpy.tar.gz").touch(),
        "one wheel of ecosight": lambda folder: (folder / "ecosight-1.2.3-py3-none-any.whl").unlink(),
        "one kind of machine": lambda folder: (folder / "a-1-cp311-cp311-manylinux_2_17_aarch64.whl").touch(),
        "win_amd64": lambda folder: (folder / "a-1-cp311-cp311-win_amd64.whl").touch(),
        "found none that names one": lambda folder: next(folder.glob("numpy*")).unlink(),
        "is not a folder": shutil.rmtree,
    }
    for number, (expected, spoil) in enumerate(cases.items()):
        folder = wheelhouse(tmp_path / str(number), "x86_64")
        spoil(folder)
        result = releases.run("publish", "--program", folder, *releases.keys("alice", "bob"))
        assert result.exit_code == 1, expected
        assert expected in told(result)
    two = [wheelhouse(tmp_path / name, "x86_64", version) for name, version in (("a", "1"), ("b", "2"))]
    result = releases.run("publish", "--program", two[0], "--program", two[1])
    assert "a release is of one version" in told(result)


def test_the_floor_rises_with_signatures_and_never_under_what_devices_are_given(
    with_one: Releases, device: Device, models: list[Path]
) -> None:
    with_one.done("publish", models[1], "--fraction", 0.5, *with_one.keys("alice", "bob"))
    early = with_one.run("floor", "--model", 2, *with_one.keys("alice", "bob"))
    assert early.exit_code == 1
    assert "still gives models/gun-shot-1.tflite" in told(early)
    with_one.done("widen")
    assert "no model has number 7" in told(with_one.run("floor", "--model", 7, *with_one.keys("alice", "bob")))
    assert with_one.run("floor", "--model", 2, *with_one.keys("alice")).exit_code == 3
    assert device.content("floor.json") is None
    with_one.done("sign", "--yes", *with_one.keys("carol"))
    assert Floor.model_validate_json(device.content("floor.json") or b"") == Floor(model=2)
    lower = with_one.run("floor", "--model", 1, *with_one.keys("alice", "bob"))
    assert lower.exit_code == 1
    assert "only ever raised" in told(lower)
    back = with_one.run("withdraw")
    assert back.exit_code == 1
    assert "the floor is 2" in told(back)
    assert "give --model" in told(with_one.run("floor"))


def test_more_than_devices_read_is_not_signed(
    with_one: Releases, device: Device, models: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placing, "DEVICES", Limits(targets_bytes=2000))
    result = with_one.run("publish", models[1], *with_one.keys("alice", "bob"))
    assert result.exit_code == 1
    assert "devices read 2000 at most" in told(result)
    assert device.wanted() == "models/gun-shot-1.tflite"
    monkeypatch.setattr(contents, "LARGEST_BYTES", 50)
    result = with_one.run("publish", "--program", wheelhouse(tmp_path / "wheels", "x86_64"))
    assert "devices take 50 at most" in told(result)
