"""The list of what was signed never gets longer than devices read."""

import json
from pathlib import Path

import pytest

from edge.updates.fetching.limits import Limits
from tests.trainer.release.making import Device, Releases, told
from tests.trainer.release.test_publish import wheelhouse
from trainer.release import publishing
from trainer.release.chain import load
from trainer.release.places import place_of
from trainer.release.settings import load as load_settings

OVERLAY = {"sites": ["forest"], "threshold_offset": 0.01}


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices that read a few thousand bytes, so that a dozen releases are too many."""
    monkeypatch.setattr(publishing, "DEVICES", Limits(targets_bytes=9_000))
    monkeypatch.setattr("trainer.release.forgetting.KEPT", 2)


def overlay(releases: Releases, number: int, *more: object) -> str:
    file = releases.folder / f"{number}.yaml"
    file.write_text(json.dumps({"id": f"o{number}", **OVERLAY}))
    return releases.done("publish", "--overlay", file, *releases.keys("alice", "bob"), *more)


def signed(releases: Releases) -> set[str]:
    settings = load_settings(releases.folder)
    return set(load(place_of(settings)).models.signed.targets)


@pytest.mark.usefixtures("narrow")
def test_the_oldest_leave_the_list_and_what_devices_are_given_stays(
    with_one: Releases, device: Device, models: list[Path]
) -> None:
    overlay(with_one, 0, "--channel", "canary", "--fraction", 1)
    said = [overlay(with_one, number, "--fraction", 1) for number in range(1, 25)]
    forgotten = [one for one in said if "sign no more the oldest" in one]
    assert forgotten
    assert "overlay o" in forgotten[0]
    now = signed(with_one)
    assert "overlays/o0.json" in now, "canary is given it"
    assert {"overlays/o24.json", "overlays/o23.json"} <= now
    assert "overlays/o1.json" not in now
    assert "models/gun-shot-1.tflite" in now
    assert (with_one.repository / "targets" / "overlays").exists()
    assert device.wanted() == "models/gun-shot-1.tflite"
    assert device.content("overlays/o24.json") is not None
    newest = max(
        (with_one.repository / "metadata").glob("*.models.json"), key=lambda path: int(path.name.split(".")[0])
    )
    assert newest.stat().st_size < 9_000


@pytest.mark.usefixtures("narrow")
def test_signers_are_shown_what_leaves(with_one: Releases) -> None:
    number = 0
    while True:
        number += 1
        file = with_one.folder / f"{number}.yaml"
        file.write_text(json.dumps({"id": f"o{number}", **OVERLAY}))
        result = with_one.run("publish", "--overlay", file, "--fraction", 1, *with_one.keys("alice"))
        assert result.exit_code == 3
        shown = told(with_one.run("sign", *with_one.keys("bob")))
        if "sign no more" in shown:
            assert "- overlays/o1.json" in shown
            return
        with_one.done("sign", "--yes", *with_one.keys("bob"))
        assert number < 60


def test_a_list_that_cannot_be_shortened_is_refused_with_the_next_step(
    with_one: Releases, device: Device, models: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "DEVICES", Limits(targets_bytes=3_000))
    result = with_one.run("publish", models[1], *with_one.keys("alice", "bob"))
    assert result.exit_code == 1
    assert "devices read 3000 at most" in told(result)
    assert "Give the newest release to all" in told(result)
    assert device.wanted() == "models/gun-shot-1.tflite"


def test_wheels_leave_with_the_last_program_that_names_them(
    releases: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.release.forgetting.KEPT", 1)
    for version in ("1", "2", "3"):
        if version == "3":
            monkeypatch.setattr("trainer.release.forgetting.NEAR", 0.0)
            monkeypatch.setattr("trainer.release.forgetting.ROOMY", 0.0)
        folder = wheelhouse(tmp_path / version, "x86_64", version)
        releases.done("publish", "--program", folder, "--fraction", 1, *releases.keys("alice", "bob"))
    now = signed(releases)
    assert "programs/1/x86_64.json" not in now
    assert {"programs/2/x86_64.json", "programs/3/x86_64.json"} <= now
    wheels = {path.split(".", 1)[1] for path in now if path.startswith("programs/wheels/")}
    ours = {name for name in wheels if name.startswith("ecosight-")}
    assert ours == {"ecosight-2-py3-none-any.whl", "ecosight-3-py3-none-any.whl"}
    assert len(wheels) > len(ours), "what both need stays"
