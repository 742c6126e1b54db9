"""The fetch process against a repository that means well, over real HTTP."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from edge.detection.choice import SHIPPED
from edge.updates.fetching import deltas
from edge.updates.release import Floor, Overlay, Stage
from tests.edge.updates.device import Device
from tests.edge.updates.simulated_repository import Served, SimulatedRepository

MODEL = os.urandom(300_000)
MACHINE = os.uname().machine


def everyone(target: str) -> Stage:
    return Stage(wanted=target, fraction=1.0)


def test_a_new_repository_asks_nothing_of_a_device(device: Device) -> None:
    answer = device.fetch()
    assert answer.code == 0 and answer.error == ""
    assert answer.offer is not None
    assert (answer.offer.model, answer.offer.program, answer.offer.overlay) == (None, None, None)


def test_what_is_chosen_is_offered_and_loaded(repository: SimulatedRepository, device: Device) -> None:
    model = repository.add_model(MODEL, "gun-shot", "7", number=7)
    wheels = {"ecosight-1.2-py3-none-any.whl": b"program", "numpy-2.3-py3-none-any.whl": os.urandom(90_000)}
    program = repository.add_program("1.2", 12, wheels, MACHINE)
    overlay = repository.add_overlay(Overlay(id="quiet", sites=["forest"], threshold_offset=0.1), 3)
    repository.set_floor(Floor(model=5))
    repository.choose("stable", everyone(model), everyone(program), everyone(overlay))
    repository.publish()
    answer = device.fetch_in_a_process()
    assert answer.error == "" and answer.code == 0
    offer = answer.offer
    assert offer is not None and offer.floor == Floor(model=5)
    assert offer.model is not None and offer.program is not None and offer.overlay is not None
    assert (offer.model.target, offer.model.number, offer.model.name, offer.model.version) == (
        model,
        7,
        "gun-shot",
        "7",
    )
    assert offer.program.length > 90_000 and offer.program.target == f"{program}/{MACHINE}.json"
    assert (offer.overlay.name, offer.overlay.version) == ("quiet", "3")
    by_kind = {fetched.kind: fetched for fetched in answer.fetched}
    assert by_kind["model"].path.read_bytes() == MODEL
    assert by_kind["model"].path == device.into / model
    manifest = json.loads(by_kind["program"].path.read_text())
    assert {(device.into / wheel).read_bytes() for wheel in manifest["wheels"]} == set(wheels.values())
    assert Overlay.model_validate_json(by_kind["overlay"].path.read_bytes()).id == "quiet"
    total = answer.progress[-1].total_bytes
    assert answer.progress[-1].done_bytes == total > 90_000


def test_what_is_here_is_not_loaded_again(repository: SimulatedRepository, server: Served, device: Device) -> None:
    model = repository.add_model(MODEL, "gun-shot", "7", number=7)
    repository.choose("stable", everyone(model))
    repository.publish()
    assert device.fetch().fetched[0].bytes_on_the_air == len(MODEL)
    server.forget()
    assert device.fetch().fetched[0].bytes_on_the_air == 0
    assert device.fetch(downloaded={"model": [model]}).fetched == []
    assert server.body_bytes("/targets/*") == 0
    assert set(server.paths()) == {"/metadata/2.root.json", "/metadata/timestamp.json"}


def test_looking_loads_no_release(repository: SimulatedRepository, server: Served, device: Device) -> None:
    repository.choose("stable", everyone(repository.add_model(MODEL, "gun-shot", "7", number=7)))
    repository.publish()
    answer = device.look()
    assert answer.offer is not None and answer.offer.model is not None and answer.fetched == []
    assert server.paths("/targets/models/*") == []


def test_a_device_outside_the_fraction_keeps_what_it_has_or_gets_the_other(
    repository: SimulatedRepository, device: Device
) -> None:
    old, new = (repository.add_model(os.urandom(100), "gun-shot", str(n), number=n) for n in (1, 2))
    repository.choose("stable", Stage(wanted=new, fraction=0.0))
    repository.publish()
    offer = device.look().offer
    assert offer is not None and offer.model is None
    repository.choose("stable", Stage(wanted=new, fraction=0.0, otherwise=old))
    repository.publish()
    offer = device.look().offer
    assert offer is not None and offer.model is not None and offer.model.target == old
    repository.choose("stable", Stage(wanted=new, fraction=1.0, otherwise=old, paused=True))
    repository.publish()
    offer = device.look().offer
    assert offer is not None and offer.model is None


def test_an_overlay_for_another_site_is_none_of_ours(repository: SimulatedRepository, device: Device) -> None:
    repository.choose("stable", overlay=everyone(repository.add_overlay(Overlay(id="x", sites=["desert"]), 1)))
    repository.publish()
    answer = device.fetch()
    assert answer.error == "" and answer.offer is not None and answer.offer.overlay is None


def test_a_release_below_the_floor_is_refused_and_the_others_go_on(
    repository: SimulatedRepository, device: Device
) -> None:
    model = repository.add_model(MODEL, "gun-shot", "4", number=4)
    overlay = repository.add_overlay(Overlay(id="quiet"), 9)
    repository.set_floor(Floor(model=5))
    repository.choose("stable", everyone(model), overlay=everyone(overlay))
    repository.publish()
    answer = device.fetch()
    assert answer.error == "floor" and answer.errors[0].kind == "model" and answer.code == 1
    assert answer.offer is not None and answer.offer.model is None and answer.offer.overlay is not None
    assert [fetched.kind for fetched in answer.fetched] == ["overlay"]


def test_the_highest_floor_ever_seen_holds_though_a_lower_one_is_signed(
    repository: SimulatedRepository, device: Device
) -> None:
    repository.set_floor(Floor(model=1, overlay=8))
    repository.choose("stable", everyone(repository.add_model(MODEL, "gun-shot", "4", number=4)))
    repository.publish()
    answer = device.fetch_in_a_process(highest_floor={"model": 5})
    assert answer.code == 1
    assert answer.error == "floor"
    assert answer.offer is not None and answer.offer.floor == Floor(model=5, overlay=8)


def test_another_channel_asks_other_things(tmp_path: Path, repository: SimulatedRepository, server: Served) -> None:
    repository.choose("canary", everyone(repository.add_model(MODEL, "gun-shot", "9", number=9)))
    repository.publish()
    for channel, expected in (("stable", False), ("canary", True)):
        device = Device(tmp_path / channel, server.url, repository.root_file, channel=channel)
        offer = device.look().offer
        assert offer is not None and (offer.model is not None) == expected


def test_an_unset_clock_waits_and_asks_nothing(server: Served, device: Device) -> None:
    answer = device.fetch(clock_synchronised=False)
    assert answer.error == "clock_not_synchronised" and answer.errors[0].retry
    assert server.asked == []


def test_the_older_release_leaves_the_folder_and_other_kinds_stay(
    repository: SimulatedRepository, device: Device
) -> None:
    first, second = (repository.add_model(os.urandom(1000), "gun-shot", str(n), number=n) for n in (1, 2))
    repository.choose("stable", everyone(first), overlay=everyone(repository.add_overlay(Overlay(id="quiet"), 1)))
    repository.publish()
    device.fetch()
    repository.choose("stable", everyone(second))
    repository.publish()
    device.fetch(["model"])
    assert not (device.into / first).exists()
    assert (device.into / second).exists() and (device.into / "overlays/quiet.json").exists()


def test_two_at_once_are_one_and_a_refusal(repository: SimulatedRepository, device: Device) -> None:
    from edge import state_lock

    device.into.mkdir(parents=True)
    with state_lock.hold(device.into):
        answer = device.fetch()
    assert answer.error == "busy" and answer.errors[0].retry
    assert device.fetch().error == ""


@pytest.mark.parametrize(
    ("section", "values", "words"),
    [
        ("updates", {"url": None}, "updates.url"),
        ("updates", {"root": "/nowhere/root.json"}, "/nowhere/root.json"),
        ("updates", {"url": "https:///x"}, "names no host"),
    ],
)
def test_what_a_person_must_mend_is_said(device: Device, section: str, values: dict[str, str], words: str) -> None:
    device.set(section, **values)
    answer = device.fetch()
    assert answer.error == "misconfigured" and not answer.errors[0].retry and words in answer.errors[0].text


def test_a_request_that_cannot_be_read_ends_with_another_code(device: Device) -> None:
    assert device.fetch_in_a_process(misspelt=1).code == 2


def test_a_repository_may_lie_in_a_folder(tmp_path: Path, repository: SimulatedRepository) -> None:
    repository.choose("stable", everyone(repository.add_model(MODEL, "gun-shot", "7", number=7)))
    repository.publish()
    device = Device(tmp_path / "device", f"file://{repository.folder}", repository.root_file)
    partial = device.into / "models" / ".gun-shot-7.tflite.part"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(MODEL[:200_000])
    answer = device.fetch()
    assert answer.fetched[0].path.read_bytes() == MODEL
    assert answer.fetched[0].bytes_on_the_air == 100_000


def test_a_password_in_the_address_is_used_and_never_said(
    repository: SimulatedRepository, server: Served, device: Device
) -> None:
    device.set("updates", url=server.url.replace("//", "//ranger:s%40fe@"))
    assert device.fetch().error == ""
    assert server.asked[0].headers["authorization"] == "Basic cmFuZ2VyOnNAZmU="
    device.set("updates", url="http://ranger:s%40fe@127.0.0.1:1")
    answer = device.fetch()
    assert (
        answer.error == "no_network" and "s%40fe" not in answer.errors[0].text and "s@fe" not in answer.errors[0].text
    )


def test_the_process_stays_small_with_the_whole_file_and_with_a_delta(
    tmp_path: Path, repository: SimulatedRepository, server: Served
) -> None:
    """The daemon's unit may grow by 60 MiB while it updates; what two processes share is counted twice here."""
    old = next(SHIPPED.glob("*.tflite"))
    new = old.read_bytes()[:-30_000] + os.urandom(40_000)
    made = deltas.make(old.read_bytes(), new)
    assert made is not None
    start = hashlib.sha256(old.read_bytes()).hexdigest()
    repository.choose("stable", everyone(repository.add_model(new, "gun-shot", "8", 8, {start: made})))
    repository.publish()
    for name, have in (("whole", []), ("delta", [str(old)])):
        answer = Device(tmp_path / name, server.url, repository.root_file).fetch_in_a_process(have=have)
        assert answer.fetched[0].delta == bool(have)
        assert answer.peak_kib < 60 * 1024, answer.peak_kib


def test_the_digest_of_an_offer_is_that_of_the_file(repository: SimulatedRepository, device: Device) -> None:
    repository.choose("stable", everyone(repository.add_model(MODEL, "gun-shot", "7", number=7)))
    repository.publish()
    answer = device.fetch()
    assert answer.offer is not None and answer.offer.model is not None
    assert answer.offer.model.sha256 == hashlib.sha256(MODEL).hexdigest() == answer.fetched[0].sha256
