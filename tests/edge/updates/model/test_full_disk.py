"""A disk that is really full at each write of an update: nothing changes, a model is there, and it goes on later."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Every call that writes, in the order of an update that arrives, one that is taken back, and a person's wish.
SCRIPT = """
import sys
from hashlib import sha256
from pathlib import Path
from edge.updates.model import state as states
from edge.updates.model.slots import Slots
from edge.updates.model.state import Before, Held, State, slot_path
from tests.edge.updates.model.candidates import candidate
from tests.edge.updates.model.units import release_of

card = Path(sys.argv[1])
contents = {version: candidate(version) for version in "123"}
releases = {version: release_of(content, int(version)) for version, content in contents.items()}
slot_path(card, "a").parent.mkdir()
slot_path(card, "a").write_bytes(contents["1"])
states.write(card, State(active="a", slots={"a": Held(release=releases["1"], confirmed=True)}))
slots = Slots(card)

def fill():
    with (card / "ballast").open("ab", buffering=0) as ballast:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    ballast.write(bytes(size))
            except OSError:
                pass

def download(version):
    (card / "download").write_bytes(contents[version])
    return card / "download"

def check(call, what):
    before = states.read(card)
    files = {path.name: sha256(path.read_bytes()).hexdigest() for path in (card / "models").iterdir()}
    fill()
    try:
        call()
        raise AssertionError(f"{what}: nothing was wrong")
    except OSError as error:
        assert error.errno == 28, (what, error)
    assert slots.unsaved, what
    assert slots.state == before == Slots(card).state, what
    assert files == {path.name: sha256(path.read_bytes()).hexdigest() for path in (card / "models").iterdir()}, what
    active = before.slots[before.active]
    assert files[f"slot_{before.active}.tflite"] == active.release.sha256, what
    again = Slots(card)
    again.begin()
    assert again.state.active is not None
    (card / "ballast").unlink()
    call()
    assert not slots.unsaved
    assert Slots(card).state == slots.state
    print(what)

for version in "23":
    check(lambda: slots.change(phase="downloading"), "downloading")
    file = download(version)
    check(lambda: slots.place(releases[version], file), "place")
    check(slots.begin_attempt, "attempt")
    check(slots.begin_trial, "trial")
    check(lambda: slots.begin_probation(Before()), "probation")
    slots = Slots(card)
    slots.begin()
    check(slots.healthy, "healthy")
    if version == "2":
        check(slots.confirm, "confirm")
    else:
        fill()
        slots.take_back("was too loud")  # a broken model goes, whatever the disk says
        assert slots.unsaved and (slots.state.phase, slots.state.active) == ("idle", "b")
        assert states.read(card).phase == "probation"
        (card / "ballast").unlink()
        slots.change()
        assert states.read(card) == slots.state and not slots.unsaved
        print("take back")
check(lambda: slots.roll_back("a person asked"), "roll back")
assert slots.state.active == "a" or slots.state.active is None
"""


def test_a_disk_that_is_full_at_each_write_changes_nothing_and_stops_nothing(tmp_path: Path) -> None:
    mount = f"mount -t tmpfs -o size=1400k tmpfs {tmp_path}"
    own_disk = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c"]
    if shutil.which("unshare") is None or subprocess.run([*own_disk, mount], capture_output=True).returncode != 0:
        pytest.skip("may not mount a small disk of its own here")
    done = subprocess.run(
        [*own_disk, f'{mount} && "$0" -c "$1" {tmp_path}', sys.executable, SCRIPT],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[4],
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:7] == [
        "downloading",
        "place",
        "attempt",
        "trial",
        "probation",
        "healthy",
        "confirm",
    ]
