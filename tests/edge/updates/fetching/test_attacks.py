"""The attacks of the TUF specification (1.5.2) and a stolen online key, against a device: none of them brings it
anything that maintainers did not sign for it, and each is said in a word."""

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import DelegatedRole, Delegations, TargetFile, Targets

from edge.updates.release import MODELS_ROLE, ROLLOUT_PATHS, ROLLOUT_ROLE, Floor, Overlay, Stage
from tests.edge.updates.device import Answer, Device
from tests.edge.updates.simulated_repository import (
    ROOT,
    SNAPSHOT,
    TARGETS,
    TARGETS_ROLES,
    TIMESTAMP,
    Fault,
    Served,
    SimulatedRepository,
    in_days,
)

MODEL, EVIL = os.urandom(3000), b"evil" * 500
MACHINE = os.uname().machine
REGIONS = 10


@pytest.fixture
def model(repository: SimulatedRepository) -> str:
    """Everything that a repository can hold, all of it chosen; returns the model."""
    target = repository.add_model(MODEL, "gun-shot", "7", number=7)
    program = repository.add_program("1.2", 12, {"ecosight-1.2-py3-none-any.whl": b"wheel" * 100}, MACHINE)
    overlay = repository.add_overlay(Overlay(id="quiet"), 3)
    repository.set_floor(Floor(model=5))
    repository.choose("stable", *(Stage(wanted=wanted, fraction=1.0) for wanted in (target, program, overlay)))
    repository.rotate(ROOT)
    repository.publish_root()
    repository.publish()
    return target


def choose(repository: SimulatedRepository, target: str) -> None:
    repository.choose("stable", model=Stage(wanted=target, fraction=1.0))
    repository.publish(ROLLOUT_ROLE)


def files(device: Device) -> dict[str, bytes]:
    """What the device would use: everything that is no partial file."""
    return {
        str(path.relative_to(device.into)): path.read_bytes()
        for path in device.into.rglob("*")
        if path.is_file() and path.name != "lock" and not path.name.startswith(".")
    }


def true_files(repository: SimulatedRepository) -> dict[str, bytes]:
    return {path: repository.file_of(path).read_bytes() for path in repository.models.targets}


def nothing_false(device: Device, truth: dict[str, bytes]) -> bool:
    return all(truth[path] == content for path, content in files(device).items())


def everything(answer: Answer) -> bool:
    return answer.errors == [] and {fetched.kind for fetched in answer.fetched} == {"model", "program", "overlay"}


# --- every byte region of every file -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["2.root", "timestamp", "snapshot", "targets", "models", "rollout"])
def test_damaged_metadata_is_refused_in_every_region(
    tmp_path: Path, repository: SimulatedRepository, server: Served, model: str, name: str
) -> None:
    file = next(file for file in repository.metadata_files() if file.name.endswith(f"{name}.json"))
    content = file.read_bytes()
    for number, at in enumerate(range(0, len(content), max(1, len(content) // REGIONS))):
        device = Device(tmp_path / f"device-{number}", server.url, repository.root_file)
        server.faults = [(f"/metadata/{file.name}", Fault(flip=at))]
        answer = device.fetch()
        assert answer.error == "untrusted", (name, at, content[max(0, at - 20) : at + 20])
        assert answer.offer is None and files(device) == {}
        server.heal()
        assert everything(device.fetch()), (name, at)


@pytest.mark.parametrize("folder", ["models", "programs", "programs/wheels", "overlays", "rollout", "floor.json"])
def test_a_damaged_target_is_refused_in_every_region(
    tmp_path: Path, repository: SimulatedRepository, server: Served, model: str, folder: str
) -> None:
    truth = true_files(repository)
    below = repository.folder / "targets" / folder
    candidates = below.glob("*.*") if folder != "floor.json" else below.parent.glob("*.floor.json")
    path = next((p for p in candidates if p.is_file()), None) or next(below.glob("*/*.json"))
    size = path.stat().st_size
    for number, at in enumerate(range(0, size, max(1, size // REGIONS))):
        device = Device(tmp_path / f"device-{number}", server.url, repository.root_file)
        server.faults = [(f"/{path.relative_to(repository.folder)}", Fault(flip=at))]
        answer = device.fetch()
        assert answer.error == "untrusted", (path, at)
        assert nothing_false(device, truth)
        server.heal()
        assert everything(device.fetch()), (path, at)


# --- the attacks by their names ----------------------------------------------------------------------------------


def test_rollback_an_older_state_of_the_repository_is_refused(
    tmp_path: Path, repository: SimulatedRepository, device: Device, model: str
) -> None:
    shutil.copytree(repository.folder, tmp_path / "older")
    choose(repository, repository.add_model(b"newer", "gun-shot", "8", number=8))
    repository.publish()
    assert device.fetch().error == ""
    shutil.rmtree(repository.folder / "metadata")
    shutil.copytree(tmp_path / "older" / "metadata", repository.folder / "metadata")
    answer = device.fetch()
    assert answer.error == "untrusted" and answer.offer is None


def test_freeze_what_has_expired_moves_nothing_and_the_renewed_does(
    repository: SimulatedRepository, device: Device, model: str
) -> None:
    repository.resign_timestamp(days=-1)
    answer = device.fetch()
    assert answer.error == "expired" and answer.errors[0].retry
    assert answer.offer is None and files(device) == {}
    repository.resign_timestamp()
    assert everything(device.fetch())


@pytest.mark.parametrize("role", [ROOT, SNAPSHOT, *TARGETS_ROLES])
def test_freeze_every_role_expires(repository: SimulatedRepository, device: Device, model: str, role: str) -> None:
    bodies = {ROOT: repository.root, SNAPSHOT: repository.snapshot}
    body = bodies.get(role) or repository.targets_of(role)
    body.expires = in_days(-1)
    if role == ROOT:
        repository.publish_root()
    repository.publish()
    answer = device.fetch()
    assert answer.error == "expired" and answer.offer is None and files(device) == {}
    body.expires = in_days(30)
    if role == ROOT:
        repository.publish_root()
    repository.publish()
    assert everything(device.fetch())


@pytest.mark.parametrize("years", [-30, 30])
def test_a_clock_that_is_wrong_by_years_waits_until_it_is_set(
    repository: SimulatedRepository, server: Served, device: Device, model: str, years: int
) -> None:
    """To the device, metadata that was made in another decade is the same as a clock of another decade."""
    for body in (
        repository.root,
        repository.timestamp,
        repository.snapshot,
        *map(repository.targets_of, TARGETS_ROLES),
    ):
        body.expires = datetime.now(UTC).replace(microsecond=0, year=datetime.now(UTC).year - years, day=1)
    repository.publish_root()
    repository.publish()
    assert device.fetch(clock_synchronised=False).error == "clock_not_synchronised"
    assert server.asked == [] and files(device) == {}
    assert device.fetch().error == ("expired" if years > 0 else "")


def test_mix_and_match_parts_of_two_states_do_not_go_together(
    tmp_path: Path, repository: SimulatedRepository, server: Served, device: Device, model: str
) -> None:
    old = {file.name.partition(".")[2]: file.read_bytes() for file in repository.metadata_files()}
    repository.publish()
    new = repository.metadata_files()
    for number, file in enumerate(file for file in new if file.name != "2.root.json"):
        target = Device(tmp_path / f"device-{number}", server.url, repository.root_file)
        kept = old[file.name.partition(".")[2]] if file.name != "timestamp.json" else None
        server.faults = [(f"/metadata/{file.name}", Fault(replace=kept))] if kept else []
        answer = target.fetch()
        assert (answer.error == "untrusted" and answer.offer is None) if kept else everything(answer), file.name


@pytest.mark.parametrize("name", ["3.root", "timestamp", "*.snapshot", "*.targets", "*.models", "*.rollout"])
def test_endless_data_is_cut_off(
    repository: SimulatedRepository, server: Served, device: Device, model: str, name: str
) -> None:
    server.fault(f"/metadata/{name}.json", Fault(endless=True, replace=b"{"))
    answer = device.fetch()
    assert answer.error == "too_large" and answer.offer is None


@pytest.mark.parametrize("content", [EVIL, EVIL[: len(MODEL)].ljust(len(MODEL), b"e")], ids=["other-length", "same"])
def test_arbitrary_software_another_file_under_a_signed_name_is_refused(
    repository: SimulatedRepository, device: Device, model: str, content: bytes
) -> None:
    truth = true_files(repository)
    repository.file_of(model).write_bytes(content)
    answer = device.fetch()
    assert answer.error == "untrusted" and answer.errors[0].kind == "model"
    assert nothing_false(device, truth) and model not in files(device)
    assert {fetched.kind for fetched in answer.fetched} == {"program", "overlay"}


@pytest.mark.parametrize("role", [ROOT, SNAPSHOT, TIMESTAMP, *TARGETS_ROLES])
def test_wrong_keys_sign_nothing(repository: SimulatedRepository, device: Device, model: str, role: str) -> None:
    repository.signers[role] = [CryptoSigner.generate_ed25519()]
    if role == ROOT:
        repository.publish_root()
    repository.publish()
    answer = device.fetch()
    assert answer.error == "untrusted" and answer.offer is None and files(device) == {}


def test_one_signature_is_not_two(tmp_path: Path) -> None:
    repository = SimulatedRepository(tmp_path / "r", keys={MODELS_ROLE: 3}, thresholds={MODELS_ROLE: 2})
    choose(repository, repository.add_model(MODEL, "gun-shot", "7", number=7))
    first, second, _ = repository.signers[MODELS_ROLE]
    for signers, error in (([first], "untrusted"), ([first, first], "untrusted"), ([first, second], "")):
        repository.signers[MODELS_ROLE] = signers
        repository.publish()
        with Served(repository.folder) as server:
            assert Device(tmp_path / f"d{len(signers)}", server.url, repository.root_file).fetch().error == error


def test_keys_rotated_many_times_are_followed_at_once_and_unsigned_ones_are_not(
    tmp_path: Path, repository: SimulatedRepository, server: Served, device: Device, model: str
) -> None:
    for number in range(12):
        for role in (ROOT, TIMESTAMP, SNAPSHOT, TARGETS, MODELS_ROLE, ROLLOUT_ROLE):
            repository.rotate(role, keys=1 + number % 3, threshold=1 + number % 2 if number % 3 else 1)
        repository.publish_root()
    repository.publish()
    assert everything(device.fetch())
    repository.rotate(ROOT)
    repository.root_signers_before = ()  # the old keys do not agree
    repository.publish_root()
    fresh = Device(tmp_path / "fresh", server.url, repository.root_file)
    for one in (device, fresh):
        assert one.fetch().error == "untrusted"


# --- a stolen rollout key ----------------------------------------------------------------------------------------


def sign_as_rollout(repository: SimulatedRepository, path: str, content: bytes, number: int = 99) -> str:
    """A target under the online role, wherever it says that it lies."""
    target = TargetFile.from_data(path, content, ["sha256"])
    target.unrecognized_fields["custom"] = {"number": number, "name": "evil", "version": "1"}
    repository.rollout.targets[path] = target
    place = repository.target_file(path, content)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return path


def test_a_stolen_rollout_key_signs_no_model(repository: SimulatedRepository, device: Device, model: str) -> None:
    choose(repository, sign_as_rollout(repository, "models/evil-1.tflite", EVIL))
    answer = device.fetch()
    assert answer.error == "untrusted" and answer.errors[0].kind == "model"
    assert "models/evil-1.tflite" not in files(device)


def test_a_stolen_rollout_key_replaces_no_model_and_no_number(
    repository: SimulatedRepository, device: Device, model: str
) -> None:
    old = repository.add_model(b"old", "gun-shot", "4", number=4)
    repository.publish(MODELS_ROLE)
    for path in (model, old):
        sign_as_rollout(repository, path, EVIL)
    choose(repository, model)
    answer = device.fetch()
    assert answer.error == "" and files(device)[model] == MODEL
    choose(repository, old)
    assert device.fetch().error == "floor"


def test_a_stolen_rollout_key_lowers_no_floor(repository: SimulatedRepository, device: Device, model: str) -> None:
    old = repository.add_model(b"old", "gun-shot", "4", number=4)
    repository.publish(MODELS_ROLE)
    sign_as_rollout(repository, "floor.json", Floor().model_dump_json().encode())
    choose(repository, old)
    answer = device.fetch()
    assert answer.error == "floor" and answer.offer is not None and answer.offer.floor.model == 5
    assert old not in files(device)


def test_a_stolen_rollout_key_delegates_nothing_that_it_may_not_sign(
    repository: SimulatedRepository, device: Device, model: str
) -> None:
    accomplice = CryptoSigner.generate_ed25519()
    keyid = accomplice.public_key.keyid
    evil = Targets(expires=in_days(9))
    evil.targets["models/evil-1.tflite"] = TargetFile.from_data("models/evil-1.tflite", EVIL, ["sha256"])
    roles = {"evil": DelegatedRole("evil", [keyid], 1, terminating=True, paths=["*", "*/*", *ROLLOUT_PATHS])}
    repository.rollout.delegations = Delegations({keyid: accomplice.public_key}, roles)
    repository.write("1.evil.json", evil, [accomplice])
    choose(repository, "models/evil-1.tflite")
    answer = device.fetch()
    assert answer.error == "untrusted" and answer.errors[0].kind == "model"


@pytest.mark.parametrize("kind", ["model", "program", "overlay"])
@pytest.mark.parametrize("wanted", ["deltas/a.b", "programs/wheels", "rollout/stable.json", "models/none-1.tflite"])
def test_a_stolen_rollout_key_names_only_what_maintainers_signed_as_such(
    repository: SimulatedRepository, device: Device, model: str, kind: str, wanted: str
) -> None:
    repository.choose("stable", **{kind: Stage(wanted=wanted, fraction=1.0)})
    repository.publish(ROLLOUT_ROLE)
    answer = device.look()
    assert answer.error == "untrusted" and answer.errors[0].kind == kind
    assert answer.offer is not None and answer.offer.of(kind) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "untrusted"),
        (b"\xff\xfe", "untrusted"),
        (b"[" * 50_000, "untrusted"),
        (b'{"channel": "canary"}', "untrusted"),
        (
            json.dumps({"channel": "stable", "model": {"wanted": "../../etc/passwd", "fraction": 1}}).encode(),
            "untrusted",
        ),
        (json.dumps({"channel": "stable", "model": {"wanted": "models/x", "fraction": 2}}).encode(), "untrusted"),
        (b" " * 70_000, "too_large"),
    ],
    ids=["empty", "binary", "deep", "other-channel", "path", "fraction", "huge"],
)
def test_a_stolen_rollout_key_writes_nonsense(
    repository: SimulatedRepository, device: Device, model: str, content: bytes, code: str
) -> None:
    repository.add("rollout/stable.json", content, role=ROLLOUT_ROLE)
    repository.publish(ROLLOUT_ROLE)
    answer = device.fetch()
    assert answer.error == code and answer.offer is None and files(device) == {}


# --- what maintainers sign by mistake ----------------------------------------------------------------------------


@pytest.mark.parametrize("custom", [None, {}, {"number": 0, "name": "x", "version": "1"}, {"number": "seven"}])
def test_a_model_without_a_number_is_refused(
    repository: SimulatedRepository, device: Device, custom: dict[str, object] | None
) -> None:
    choose(repository, repository.add("models/odd-1.tflite", MODEL, custom))
    repository.publish()
    assert device.fetch().error == "untrusted"


@pytest.mark.parametrize(("machine", "code"), [(MACHINE, "not_found"), ("other", "untrusted")])
def test_a_wheelhouse_for_another_machine_or_of_strange_files_is_refused(
    repository: SimulatedRepository, device: Device, machine: str, code: str
) -> None:
    wheel = repository.add("models/x.tflite", b"x")
    said = "aarch64" if MACHINE == "x86_64" else "x86_64"
    manifest = {"version": "1", "machine": MACHINE if machine == MACHINE else said, "wheels": [wheel]}
    repository.add(f"programs/1/{MACHINE}.json", json.dumps(manifest).encode(), {"number": 1, "version": "1"})
    repository.choose("stable", program=Stage(wanted="programs/1", fraction=1.0))
    repository.publish()
    answer = device.fetch()
    assert answer.error == code and answer.errors[0].kind == "program" and files(device) == {}


# --- what is kept on the device, damaged -------------------------------------------------------------------------


def a_folder(path: Path) -> None:
    path.unlink()
    (path / "inside").mkdir(parents=True)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "binary": lambda path: path.write_bytes(os.urandom(5000)),
    "deep": lambda path: path.write_bytes(b"[" * 200_000),
    "gone": lambda path: path.unlink(),
    "folder": a_folder,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_to_what_was_kept_is_mended_by_itself(
    repository: SimulatedRepository, device: Device, model: str, damage: str
) -> None:
    assert everything(device.fetch())
    kept = [path for path in device.metadata.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(kept) > 8
    for path in kept:
        if path.name != "lock":
            DAMAGE[damage](path)
        assert everything(device.fetch()), path
    (device.metadata / "tmpabc").write_bytes(b"half")
    shutil.rmtree(device.metadata / "root_history")
    (device.metadata / "root_history").write_bytes(b"")
    assert everything(device.fetch()) and not (device.metadata / "tmpabc").exists()
