"""The cases of the public TUF client conformance suite, against our client.

The list is that of github.com/theupdateframework/tuf-conformance (its files test_basic, test_expiration, test_rollback,
test_keys, test_updater_key_rotations, test_updater_delegation_graphs, test_file_download), each case written down anew:
the suite itself is not on package indexes. Not here: its static repositories (other projects' fixtures) and
test_quoting_issues (names that `release.TargetPath` forbids).
"""

import json
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import DelegatedRole, Delegations, MetaFile, Targets

from edge.settings import load
from edge.updates.fetching.client import Repository
from edge.updates.fetching.fetcher import fetcher_for
from edge.updates.fetching.pace import Pace
from edge.updates.release import Stage
from tests.edge.updates.device import QUICK, Device
from tests.edge.updates.simulated_repository import (
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    Served,
    SimulatedRepository,
    in_days,
)


def version(device: Device, role: str) -> int:
    """What the device has kept of a role; 0 for nothing."""
    file = device.metadata / f"{role}.json"
    return int(json.loads(file.read_bytes())["signed"]["version"]) if file.exists() else 0


def asked(server: Served) -> list[str]:
    return [path.removeprefix("/metadata/").removesuffix(".json") for path in server.paths("/metadata/*")]


# --- test_basic ----------------------------------------------------------------------------------------------------


def test_a_first_refresh_asks_for_each_role_once(server: Served, device: Device) -> None:
    assert device.look().error == ""
    assert asked(server)[:4] == ["2.root", "timestamp", "1.snapshot", "1.targets"]
    assert [version(device, role) for role in (ROOT, TIMESTAMP, SNAPSHOT, TARGETS)] == [1, 1, 1, 1]


@pytest.mark.parametrize("damage", ["version", "signature"])
def test_an_invalid_first_root_asks_for_nothing(
    tmp_path: Path, repository: SimulatedRepository, server: Served, device: Device, damage: str
) -> None:
    root = json.loads(repository.root_file.read_bytes())
    if damage == "version":
        del root["signed"]["version"]
    else:
        root["signatures"][0]["sig"] = "30" * 64
    (tmp_path / "bad.json").write_text(json.dumps(root))
    device.set("updates", root=str(tmp_path / "bad.json"))
    assert device.look().error == "misconfigured"
    assert server.asked == []


def test_a_timestamp_of_the_same_version_does_not_replace_the_kept_one(
    repository: SimulatedRepository, device: Device
) -> None:
    device.look()
    repository.timestamp.snapshot_meta = MetaFile(100)
    repository.write_timestamp()
    device.look()
    kept = json.loads((device.metadata / "timestamp.json").read_bytes())
    assert kept["signed"]["meta"]["snapshot.json"]["version"] == 1


def test_targets_that_do_not_fit_the_snapshot_are_refused(repository: SimulatedRepository, device: Device) -> None:
    device.look()
    repository.targets.version += 1
    repository.write("2.targets.json", repository.targets, repository.signers[TARGETS])
    repository.snapshot.meta["targets.json"].version = 2  # length and digest are still those of version 1
    repository.snapshot.version += 1
    repository.write_snapshot()
    repository.resign_timestamp()
    assert device.look().error in ("untrusted", "too_large")
    assert version(device, TARGETS) == 1


def test_new_targets_that_no_snapshot_names_are_not_seen(repository: SimulatedRepository, device: Device) -> None:
    device.look()
    repository.targets.version += 1
    repository.write("2.targets.json", repository.targets, repository.signers[TARGETS])
    assert device.look().error == "" and version(device, TARGETS) == 1


def test_fields_that_nobody_knows_are_part_of_what_is_signed(repository: SimulatedRepository, device: Device) -> None:
    repository.root.unrecognized_fields["custom-field"] = "value"
    repository.root.roles[ROOT].unrecognized_fields["another-field"] = "value"
    next(iter(repository.root.keys.values())).unrecognized_fields["extra-field"] = {"a": 1}
    repository.publish_root()
    assert device.look().error == "" and version(device, ROOT) == 2


# --- test_expiration -----------------------------------------------------------------------------------------------


def test_an_expired_root_is_kept_and_nothing_after_it(repository: SimulatedRepository, device: Device) -> None:
    device.look()
    repository.root.expires = in_days(-1)
    repository.publish_root()
    repository.publish()
    assert device.look().error == "expired"
    assert (version(device, ROOT), version(device, TIMESTAMP), version(device, SNAPSHOT)) == (2, 1, 1)


def test_an_expired_root_on_the_way_is_no_hindrance(repository: SimulatedRepository, device: Device) -> None:
    repository.root.expires = in_days(-1)
    repository.publish_root()
    repository.root.expires = in_days(9)
    repository.publish_root()
    assert device.look().error == "" and version(device, ROOT) == 3


@pytest.mark.parametrize("role", [TIMESTAMP, SNAPSHOT, TARGETS])
def test_an_expired_role_does_not_replace_the_kept_one(
    repository: SimulatedRepository, device: Device, role: str
) -> None:
    device.look()
    {TIMESTAMP: repository.timestamp, SNAPSHOT: repository.snapshot, TARGETS: repository.targets}[
        role
    ].expires = in_days(-5)
    repository.publish()
    assert device.look().error == "expired" and version(device, role) == 1


def test_kept_roles_that_have_expired_still_guard_and_give_way(repository: SimulatedRepository, device: Device) -> None:
    repository.timestamp.expires = repository.snapshot.expires = in_days(-1)
    repository.publish()
    assert device.look().error == "expired"
    repository.timestamp.expires = repository.snapshot.expires = in_days(21)
    repository.publish()
    assert device.look().error == ""
    assert (version(device, TIMESTAMP), version(device, SNAPSHOT), version(device, TARGETS)) == (3, 3, 3)


# --- test_rollback -------------------------------------------------------------------------------------------------


def test_an_older_timestamp_is_refused(repository: SimulatedRepository, server: Served, device: Device) -> None:
    repository.resign_timestamp()
    assert device.look().error == "" and version(device, TIMESTAMP) == 2
    repository.timestamp.version = 1
    repository.write_timestamp()
    server.forget()
    assert device.look().error == "untrusted" and version(device, TIMESTAMP) == 2
    assert asked(server)[-1] == "timestamp"


def test_an_older_snapshot_that_no_timestamp_names_is_not_asked_for(
    repository: SimulatedRepository, server: Served, device: Device
) -> None:
    repository.publish()
    device.look()
    repository.snapshot.version = 1
    repository.write("2.snapshot.json", repository.snapshot, repository.signers[SNAPSHOT])
    server.forget()
    assert device.look().error == "" and version(device, SNAPSHOT) == 2
    assert asked(server)[-1] == "timestamp"


def test_an_older_snapshot_is_refused(repository: SimulatedRepository, server: Served, device: Device) -> None:
    repository.publish()
    device.look()
    repository.snapshot.version = 1
    repository.write_snapshot()
    server.forget()
    repository.resign_timestamp()
    assert device.look().error == "untrusted"
    assert (version(device, TIMESTAMP), version(device, SNAPSHOT)) == (2, 2)
    assert asked(server)[-1] == "timestamp"


def test_a_snapshot_of_another_version_than_its_timestamp_says_is_refused(
    repository: SimulatedRepository, device: Device
) -> None:
    repository.snapshot.version = 2
    data = repository.write("1.snapshot.json", repository.snapshot, repository.signers[SNAPSHOT])
    repository.timestamp.snapshot_meta = MetaFile(1, len(data))
    repository.resign_timestamp()
    assert device.look().error == "untrusted" and version(device, TARGETS) == 0


@pytest.mark.parametrize("role", [TARGETS, "models", "rollout"])
def test_older_targets_are_refused(repository: SimulatedRepository, device: Device, role: str) -> None:
    repository.publish()
    repository.publish()
    assert device.look().error == ""
    repository.targets_of(role).version = 1
    repository.write_targets(role)
    repository.snapshot.version += 1
    repository.write_snapshot()
    repository.resign_timestamp()
    assert device.look().error == "untrusted"
    assert (version(device, SNAPSHOT), version(device, role)) == (3, 3)


@pytest.mark.parametrize("role", [TIMESTAMP, SNAPSHOT, TARGETS])
def test_after_a_fast_forward_new_keys_bring_the_true_versions_back(
    repository: SimulatedRepository, device: Device, role: str
) -> None:
    bodies = {TIMESTAMP: repository.timestamp, SNAPSHOT: repository.snapshot, TARGETS: repository.targets}
    bodies[role].version = 99_999
    repository.publish()
    assert device.look().error == "" and version(device, role) == 100_000
    bodies[role].version = 1
    for stolen in (TIMESTAMP, SNAPSHOT):
        repository.rotate(stolen)
    repository.publish_root()
    repository.publish()
    assert device.look().error == "" and version(device, role) == 2


# --- test_keys -----------------------------------------------------------------------------------------------------


def test_a_threshold_above_the_number_of_keys_is_not_reached(tmp_path: Path) -> None:
    repository = SimulatedRepository(tmp_path / "r", keys={SNAPSHOT: 5}, thresholds={SNAPSHOT: 5})
    with Served(repository.folder) as server:
        device = Device(tmp_path / "d", server.url, repository.root_file)
        assert device.look().error == ""
        repository.root.roles[SNAPSHOT].threshold = 6
        repository.publish_root()
        repository.publish()
        assert device.look().error == "untrusted" and version(device, SNAPSHOT) == 1


def test_keys_in_root_that_signed_nothing_do_not_count(tmp_path: Path) -> None:
    repository = SimulatedRepository(tmp_path / "r", keys={SNAPSHOT: 3}, thresholds={SNAPSHOT: 3})
    with Served(repository.folder) as server:
        device = Device(tmp_path / "d", server.url, repository.root_file)
        device.look()
        for _ in range(2):
            repository.root.add_key(CryptoSigner.generate_ecdsa().public_key, SNAPSHOT)
        repository.root.roles[SNAPSHOT].threshold = 5
        repository.publish_root()
        assert device.look().error == "untrusted"
        assert (version(device, ROOT), version(device, SNAPSHOT)) == (2, 1)


def test_one_key_under_many_ids_is_one_key(repository: SimulatedRepository, device: Device) -> None:
    device.look()
    key = repository.signers[SNAPSHOT][0].public_key
    for number in range(9):
        twin = type(key)(f"{number:064x}", key.keytype, key.scheme, key.keyval)
        repository.root.add_key(twin, SNAPSHOT)
    repository.root.roles[SNAPSHOT].threshold = 6
    repository.publish_root()
    repository.publish()
    assert device.look().error == "untrusted" and version(device, SNAPSHOT) == 1


# --- test_updater_key_rotations ------------------------------------------------------------------------------------

ROTATIONS: dict[str, tuple[list[tuple[list[int], int, list[int]]], bool]] = {
    "one key": ([([1], 1, [1]), ([2], 1, [2, 1]), ([2], 1, [2])], True),
    "unused signatures": ([([1], 1, [3, 1, 4]), ([2], 1, [3, 2, 1, 4]), ([2], 1, [3, 2, 4])], True),
    "3 of 5, other signers": ([([0, 1, 2, 3, 4], 3, s) for s in ([0, 2, 4], [0, 4, 1], [0, 1, 3])], True),
    "3 of 5, one rotated": ([([0, 1, 2, 3, 4], 3, [0, 2, 4]), ([0, 1, 3, 4, 5], 3, [0, 4, 1])], True),
    "3 of 5, all rotated": (
        [([0, 1, 2, 3, 4], 3, [0, 2, 4]), ([5, 6, 7, 8, 9], 3, [0, 2, 4, 5, 6, 7]), ([5, 6, 7, 8, 9], 3, [5, 6, 7])],
        True,
    ),
    "threshold up": ([([1, 2, 3], 1, [1]), ([1, 2, 3], 2, [1, 2])], True),
    "threshold down": ([([1, 2, 3], 2, [1, 2]), ([1, 2, 3], 1, [1, 2]), ([1, 2, 3], 1, [1])], True),
    "a second key": ([([1], 1, [1]), ([1, 2], 2, [1, 2])], True),
    "not by the old key": ([([1], 1, [1]), ([2], 1, [2, 3, 4])], False),
    "not by the new key": ([([1], 1, [1]), ([2], 1, [1, 3, 4])], False),
    "not by 3 new": ([([0, 1, 2, 3, 4], 3, [0, 2, 4]), ([0, 1, 3, 4, 5], 3, [0, 2, 4])], False),
    "not by 3 old": ([([0, 1, 2, 3, 4], 3, [0, 2, 4]), ([0, 1, 3, 4, 5], 3, [0, 4, 5])], False),
    "new threshold not reached": ([([1, 2, 3], 1, [1]), ([1, 2, 3], 2, [2])], False),
    "old threshold not reached": ([([1, 2, 3], 2, [1, 2]), ([1, 2, 3], 1, [1])], False),
}


@pytest.mark.parametrize("name", ROTATIONS)
def test_roots_follow_each_other_only_with_both_thresholds(
    tmp_path: Path, repository: SimulatedRepository, device: Device, name: str
) -> None:
    steps, good = ROTATIONS[name]
    keys = [CryptoSigner.generate_ed25519() for _ in range(10)]
    for number, (allowed, threshold, signed_by) in enumerate(steps):
        repository.signers[ROOT], repository.thresholds[ROOT] = [keys[k] for k in allowed], threshold
        repository._allow_in_root(ROOT)
        repository.root.version = number + 1
        repository.write_root([keys[k] for k in signed_by])
    device.set("updates", root=str(repository.folder / "metadata" / "1.root.json"))
    assert device.look().error == ("" if good else "untrusted")
    assert version(device, ROOT) == len(steps) - (not good)


@pytest.mark.parametrize("role", [TIMESTAMP, SNAPSHOT, TARGETS])
@pytest.mark.parametrize(
    ("allowed", "threshold", "signed_by", "good"),
    [
        ([2], 1, [2], True),
        ([1], 1, [3, 1, 4], True),
        ([2], 1, [1, 3, 4], False),
        ([0, 1, 3, 4, 5], 3, [0, 2, 4], False),
        ([0, 1, 3, 4, 5], 3, [0, 4], False),
        ([0, 1, 2, 3, 4], 3, [2, 3, 4], True),
    ],
)
def test_other_roles_need_their_threshold_of_their_keys(
    repository: SimulatedRepository,
    device: Device,
    role: str,
    allowed: list[int],
    threshold: int,
    signed_by: list[int],
    good: bool,
) -> None:
    keys = [CryptoSigner.generate_ed25519() for _ in range(6)]
    repository.signers[role], repository.thresholds[role] = [keys[k] for k in allowed], threshold
    repository._allow_in_root(role)
    repository.publish_root()
    repository.signers[role] = [keys[k] for k in signed_by]
    repository.publish()
    assert device.look().error == ("" if good else "untrusted")
    assert version(device, role) == (2 if good else 0)


# --- test_updater_delegation_graphs --------------------------------------------------------------------------------

Graph = list[tuple[str, str, bool, str]]
GRAPHS: dict[str, tuple[Graph, list[str]]] = {
    "one": ([("targets", "A", False, "*")], ["A"]),
    "two": ([("targets", "A", False, "*"), ("targets", "B", False, "*")], ["A", "B"]),
    "two levels": (
        [("targets", "A", False, "*"), ("targets", "B", False, "*"), ("B", "C", False, "*")],
        ["A", "B", "C"],
    ),
    "depth first": (
        [("targets", "A", False, "*"), ("targets", "B", False, "*"), ("A", "C", False, "*"), ("A", "D", False, "*")],
        ["A", "C", "D", "B"],
    ),
    "three levels": (
        [("targets", "A", False, "*"), ("targets", "B", False, "*"), ("A", "C", False, "*"), ("C", "D", False, "*")],
        ["A", "C", "D", "B"],
    ),
    "terminating": (
        [("targets", "A", False, "*"), ("targets", "B", False, "*"), ("A", "C", True, "*"), ("A", "D", False, "*")],
        ["A", "C"],
    ),
    "terminating, its own": (
        [("targets", "A", False, "*"), ("targets", "B", False, "*"), ("A", "C", True, "*"), ("C", "D", False, "*")],
        ["A", "C", "D"],
    ),
    "other paths": ([("targets", "A", False, "*.py"), ("targets", "B", False, "*"), ("A", "C", False, "*")], ["B"]),
    "other paths below": (
        [("targets", "A", False, "*"), ("targets", "B", False, "*"), ("A", "C", False, "*.py"), ("C", "D", False, "*")],
        ["A", "B"],
    ),
    "cycle": (
        [
            ("targets", "A", False, "*"),
            ("targets", "B", False, "*"),
            ("B", "C", False, "*"),
            ("C", "D", False, "*"),
            ("D", "B", False, "*"),
        ],
        ["A", "B", "C", "D"],
    ),
    "two ways to a third": (
        [("targets", "A", False, "*"), ("targets", "B", False, "*"), ("B", "C", False, "*"), ("A", "C", False, "*")],
        ["A", "C", "B"],
    ),
    "separators": (
        [("targets", "A", False, "*"), ("targets", "B", False, "missing/*"), ("B", "C", False, "missing/*")],
        ["A"],
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_delegations_are_visited_in_their_order(
    repository: SimulatedRepository, server: Served, device: Device, name: str
) -> None:
    graph, order = GRAPHS[name]
    signer = CryptoSigner.generate_ed25519()
    keys = {signer.public_key.keyid: signer.public_key}
    bodies = {"targets": repository.targets}
    for _, child, _, _ in graph:
        bodies.setdefault(child, Targets(expires=in_days(9)))
    for parent in {parent for parent, *_ in graph}:
        bodies[parent].delegations = Delegations(
            dict(keys),
            {
                child: DelegatedRole(child, list(keys), 1, terminating=terminating, paths=[pattern])
                for above, child, terminating, pattern in graph
                if above == parent
            },
        )
    for child, body in bodies.items():
        if child != "targets":
            repository.write(f"1.{child}.json", body, [signer])
            repository.snapshot.meta[f"{child}.json"] = MetaFile(1)
    repository.publish(TARGETS)
    device.look()
    server.forget()
    settings = load(device.config, {})
    with fetcher_for(settings, Pace(QUICK, 60), QUICK) as fetcher:
        client = Repository(settings, fetcher, device.folder / "anew", QUICK)
        client.refresh()
        server.forget()
        assert client.target("missingpath") is None
    assert asked(server) == [f"1.{role}" for role in order]


# --- test_file_download --------------------------------------------------------------------------------------------


def test_a_target_that_is_changed_again_and_again_is_always_the_signed_one(
    repository: SimulatedRepository, device: Device
) -> None:
    for number in range(1, 5):
        target = repository.add(
            "models/one.tflite", b"content %d" % number, {"number": number, "name": "a", "version": "1"}
        )
        repository.choose("stable", model=Stage(wanted=target, fraction=1.0))
        repository.publish()
        assert device.fetch().fetched[0].path.read_bytes() == b"content %d" % number
        repository.file_of(target).write_bytes(b"malice  %d" % number)
        device.fetch()
        assert (device.into / target).read_bytes() == b"content %d" % number
