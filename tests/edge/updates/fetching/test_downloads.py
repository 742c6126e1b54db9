"""Links that break, servers that misbehave, and what of a download may be used again."""

import hashlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.updates.fetching import deltas
from edge.updates.release import Stage
from tests.edge.updates.device import IMPATIENT, QUICK, Device
from tests.edge.updates.simulated_repository import Fault, Served, SimulatedRepository

MODEL = os.urandom(400_000)
MODELS = "/targets/models/*"


@pytest.fixture
def model(repository: SimulatedRepository) -> str:
    target = repository.add_model(MODEL, "gun-shot", "7", number=7)
    repository.choose("stable", Stage(wanted=target, fraction=1.0))
    repository.publish()
    return target


def partial(device: Device) -> Path:
    return device.into / "models" / ".gun-shot-7.tflite.part"


def is_whole(device: Device, model: str) -> bool:
    return (device.into / model).read_bytes() == MODEL and not partial(device).exists()


def test_a_link_that_breaks_is_gone_on_with(server: Served, device: Device, model: str) -> None:
    server.fault(MODELS, Fault(truncate_at=150_000, times=2))
    answer = device.fetch()
    assert is_whole(device, model)
    assert answer.fetched[0].bytes_on_the_air == len(MODEL) == server.body_bytes(MODELS)


def test_what_came_in_one_run_is_not_asked_for_in_the_next(server: Served, device: Device, model: str) -> None:
    server.fault(MODELS, Fault(truncate_at=1000))
    answer = device.fetch()
    assert answer.error == "no_network" and answer.errors[0].retry
    here = partial(device).stat().st_size
    assert 0 < here < len(MODEL)
    server.heal()
    answer = device.fetch()
    assert is_whole(device, model) and answer.fetched[0].bytes_on_the_air == len(MODEL) - here


@pytest.mark.parametrize("when", [0.0, 0.15])
def test_a_killed_run_leaves_what_the_next_goes_on_with(
    server: Served, device: Device, model: str, when: float
) -> None:
    server.fault(MODELS, Fault(drip_s=0.02, drip_bytes=4000))
    process = device.start()
    while not (partial(device).exists() and partial(device).stat().st_size):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    time.sleep(when)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    here = partial(device).stat().st_size
    assert not (device.into / model).exists()
    server.heal()
    answer = device.fetch()
    assert is_whole(device, model) and answer.fetched[0].bytes_on_the_air == len(MODEL) - here


@pytest.mark.parametrize("fault", [Fault(ignore_range=True), Fault(wrong_range=True, times=1)], ids=["none", "another"])
def test_a_server_that_answers_ranges_wrongly_costs_bytes_and_nothing_else(
    server: Served, device: Device, model: str, fault: Fault
) -> None:
    partial(device).parent.mkdir(parents=True)
    partial(device).write_bytes(MODEL[:300_000])
    server.fault(MODELS, fault)
    answer = device.fetch()
    assert is_whole(device, model) and answer.fetched[0].bytes_on_the_air >= len(MODEL)


@pytest.mark.parametrize(
    "content",
    [bytes(300_000), MODEL[:1] + bytes(len(MODEL) - 1), MODEL + b"more", os.urandom(len(MODEL) * 2), MODEL[1:]],
    ids=["other", "whole-other", "longer", "much-longer", "shifted"],
)
def test_a_damaged_partial_file_is_found_out_and_loaded_anew(device: Device, model: str, content: bytes) -> None:
    partial(device).parent.mkdir(parents=True)
    partial(device).write_bytes(content)
    assert device.fetch().error == ""
    assert is_whole(device, model)


def test_a_partial_file_that_is_whole_needs_no_request(server: Served, device: Device, model: str) -> None:
    partial(device).parent.mkdir(parents=True)
    partial(device).write_bytes(MODEL)
    assert device.fetch().fetched[0].bytes_on_the_air == 0
    assert is_whole(device, model) and server.paths(MODELS) == []


def test_a_file_that_changed_under_a_partial_one_is_refused_and_later_loaded(
    server: Served, device: Device, model: str
) -> None:
    partial(device).parent.mkdir(parents=True)
    partial(device).write_bytes(MODEL[:200_000])
    server.fault(MODELS, Fault(replace=os.urandom(len(MODEL))))
    answer = device.fetch()
    assert answer.error == "untrusted" and answer.errors[0].kind == "model"
    assert not (device.into / model).exists() and not partial(device).exists()
    server.heal()
    assert device.fetch().error == "" and is_whole(device, model)


def test_a_file_that_shrank_is_refused(server: Served, device: Device, model: str) -> None:
    partial(device).parent.mkdir(parents=True)
    partial(device).write_bytes(MODEL[:200_000])
    server.fault(MODELS, Fault(replace=MODEL[:100_000]))
    assert device.fetch().error == "untrusted"
    assert not (device.into / model).exists()
    assert server.body_bytes(MODELS) <= 2 * 100_000


@pytest.mark.parametrize("what", [MODELS, "/metadata/*.models.json"])
def test_a_server_that_sends_the_same_beginning_for_ever_is_given_up(
    server: Served, device: Device, model: str, what: str
) -> None:
    server.fault(what, Fault(truncate_at=300, ignore_range=True))
    assert device.fetch().error == "no_network"
    assert len(server.paths(what)) == device.limits.attempts


def test_a_damaged_download_that_looks_whole_is_loaded_again(device: Device, model: str) -> None:
    device.fetch()
    (device.into / model).write_bytes(MODEL[:-1] + b"\0")
    assert device.fetch().fetched[0].bytes_on_the_air == len(MODEL)
    assert is_whole(device, model)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault(status=404), "not_found"),
        (Fault(status=403), "not_found"),
        (Fault(status=503), "no_network"),
        (Fault(stall=True), "no_network"),
        (Fault(endless=True), "too_large"),
        (Fault(replace=MODEL + b"!"), "too_large"),
        (Fault(drip_s=0.05, drip_bytes=100), "slow"),
        (Fault(flip=200_000), "untrusted"),
    ],
    ids=["404", "403", "503", "stall", "endless", "longer", "drip", "flip"],
)
def test_a_server_that_misbehaves_is_left_in_words(
    server: Served, device: Device, model: str, fault: Fault, code: str
) -> None:
    server.fault(MODELS, fault)
    if fault.stall or fault.drip_s:
        device.limits = IMPATIENT
    answer = device.fetch()
    device.limits = QUICK
    assert answer.error == code and answer.errors[0].retry and answer.code == 1
    assert not (device.into / model).exists()
    assert server.body_bytes(MODELS) < 20_000_000  # what fits into the sockets' buffers
    server.heal()
    assert device.fetch().error == "" and is_whole(device, model)


@pytest.mark.parametrize(
    ("what", "fault"),
    [("/metadata/timestamp.json", Fault(drip_s=0.2, drip_headers=True)), (MODELS, Fault(drip_s=0.2))],
    ids=["headers", "body"],
)
def test_a_server_that_drips_single_bytes_is_given_up(
    server: Served, device: Device, model: str, fault: Fault, what: str
) -> None:
    server.fault(what, fault)
    device.limits = IMPATIENT
    assert device.fetch_in_a_process().error == "slow"


def test_what_passes_is_tried_again_in_the_same_run(server: Served, device: Device, model: str) -> None:
    for pattern in ("/metadata/timestamp.json", MODELS):
        server.fault(pattern, Fault(status=503, times=2))
    assert device.fetch().error == "" and is_whole(device, model)


def test_nothing_listens(device: Device, model: str) -> None:
    device.set("updates", url="http://127.0.0.1:1/repository")
    answer = device.fetch()
    assert answer.error == "no_network" and "object at 0x" not in answer.errors[0].text


def test_a_release_larger_than_allowed_is_not_begun(
    repository: SimulatedRepository, server: Served, device: Device
) -> None:
    target = repository.add_model(bytes(1_000_001), "gun-shot", "8", number=8)
    repository.choose("stable", Stage(wanted=target, fraction=1.0))
    repository.publish()
    device.set("updates", largest_bytes=1_000_000)
    answer = device.fetch()
    assert answer.error == "too_large" and answer.errors[0].kind == "model" and server.paths(MODELS) == []


def test_no_download_is_begun_that_would_leave_too_little_room(server: Served, device: Device, model: str) -> None:
    device.set("clips", free_floor_bytes=1 << 60)
    answer = device.fetch()
    assert answer.error == "disk_full" and "clips.free_floor_bytes" in answer.errors[0].text
    assert answer.offer is not None and answer.offer.model is not None
    assert server.paths(MODELS) == []


# --- deltas ------------------------------------------------------------------------------------------------------

OLD = MODEL[:350_000] + os.urandom(50_000)


@pytest.fixture
def with_delta(repository: SimulatedRepository, tmp_path: Path) -> tuple[str, Path]:
    (tmp_path / "old.tflite").write_bytes(OLD)
    made = deltas.make(OLD, MODEL)
    assert made is not None
    target = repository.add_model(MODEL, "gun-shot", "7", 7, {hashlib.sha256(OLD).hexdigest(): made})
    repository.choose("stable", Stage(wanted=target, fraction=1.0))
    repository.publish()
    return target, tmp_path / "old.tflite"


def test_a_delta_from_a_file_of_this_device_saves_the_rest(
    server: Served, device: Device, with_delta: tuple[str, Path]
) -> None:
    target, old = with_delta
    answer = device.fetch(have=["/nowhere", str(device.folder), str(old)])
    assert answer.fetched[0].delta and answer.fetched[0].bytes_on_the_air < 60_000
    assert is_whole(device, target) and server.paths(MODELS) == []
    assert [path for path in device.into.rglob("*") if path.is_file() and path.name != "lock"] == [device.into / target]


def test_without_the_old_file_the_whole_is_loaded(device: Device, with_delta: tuple[str, Path]) -> None:
    fetched = device.fetch().fetched[0]
    assert not fetched.delta and fetched.bytes_on_the_air == len(MODEL)


def test_a_begun_whole_file_is_ended_whole(device: Device, with_delta: tuple[str, Path]) -> None:
    partial(device).parent.mkdir(parents=True)
    partial(device).write_bytes(MODEL[:390_000])
    fetched = device.fetch(have=[str(with_delta[1])]).fetched[0]
    assert not fetched.delta and fetched.bytes_on_the_air == 10_000


def test_a_device_with_nothing_starts_from_nothing(repository: SimulatedRepository, device: Device) -> None:
    content = b"forest " * 30_000
    made = deltas.make(b"", content)
    assert made is not None
    target = repository.add_model(content, "gun-shot", "7", 7, {deltas.NOTHING: made})
    repository.choose("stable", Stage(wanted=target, fraction=1.0))
    repository.publish()
    fetched = device.fetch().fetched[0]
    assert fetched.delta and fetched.bytes_on_the_air == len(made) and fetched.path.read_bytes() == content


def lost(repository: SimulatedRepository, delta: str) -> None:
    repository.file_of(delta).unlink()


def flipped(repository: SimulatedRepository, delta: str) -> None:
    content = bytearray(repository.file_of(delta).read_bytes())
    content[50] ^= 1
    repository.file_of(delta).write_bytes(content)


def longer(repository: SimulatedRepository, delta: str) -> None:
    repository.file_of(delta).write_bytes(repository.file_of(delta).read_bytes() + b"!")


def unsigned(repository: SimulatedRepository, delta: str) -> None:
    del repository.models.targets[delta]
    repository.publish()


def of_another_length(repository: SimulatedRepository, delta: str) -> None:
    repository.add(delta, b"short")
    repository.publish()


def to_another_file(repository: SimulatedRepository, delta: str) -> None:
    replace_delta(repository, delta, deltas.make(OLD, MODEL[:-1] + b"!") or b"")


def no_delta_at_all(repository: SimulatedRepository, delta: str) -> None:
    replace_delta(repository, delta, os.urandom(5000))


def replace_delta(repository: SimulatedRepository, delta: str, content: bytes) -> None:
    """As maintainers would sign it whose tool is broken."""
    repository.add(delta, content)
    model = repository.models.targets["models/gun-shot-7.tflite"]
    model.unrecognized_fields["custom"]["deltas"][hashlib.sha256(OLD).hexdigest()]["length"] = len(content)
    repository.publish()


@pytest.mark.parametrize(
    "fault",
    [lost, flipped, longer, unsigned, of_another_length, to_another_file, no_delta_at_all],
    ids=lambda f: f.__name__,
)
def test_whatever_is_wrong_with_a_delta_the_whole_file_comes(
    repository: SimulatedRepository,
    device: Device,
    with_delta: tuple[str, Path],
    fault: Callable[[SimulatedRepository, str], None],
) -> None:
    target, old = with_delta
    fault(repository, next(path for path in repository.models.targets if path.startswith("deltas/")))
    answer = device.fetch(have=[str(old)])
    assert answer.error == "" and not answer.fetched[0].delta
    assert is_whole(device, target) and not (device.into / "deltas").exists()
