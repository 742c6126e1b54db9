"""Power cuts and full cards: whatever ends a fetch, nothing false lies under a true name, and the next goes on."""

import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge.updates.fetching import deltas
from edge.updates.fetching.fetch import Run
from edge.updates.fetching.pace import Pace
from edge.updates.offer import Request
from edge.updates.release import Overlay, Stage
from tests.edge.updates.device import QUICK, REPOSITORY, Device
from tests.edge.updates.simulated_repository import Served, SimulatedRepository

MODEL, OLD = os.urandom(150_000), os.urandom(2_000)
MACHINE = os.uname().machine
STEPS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "shutil.rmtree"}


@pytest.fixture
def content(repository: SimulatedRepository) -> dict[str, bytes]:
    """Paths and contents of all that is chosen for a device."""
    made = deltas.make(OLD, OLD + b"more")
    assert made is not None
    model = repository.add_model(OLD + b"more", "gun-shot", "7", 7, {hashlib.sha256(OLD).hexdigest(): made})
    program = repository.add_program(
        "1.2", 12, {"a-1-py3-none-any.whl": b"wheel a" * 99, "b-1-py3-none-any.whl": b"wheel b" * 99}, MACHINE
    )
    overlay = repository.add_overlay(Overlay(id="quiet"), 3)
    repository.choose("stable", *(Stage(wanted=wanted, fraction=1.0) for wanted in (model, program, overlay)))
    repository.rotate("root")
    repository.publish_root()
    repository.publish()
    return {
        path: repository.file_of(path).read_bytes()
        for path in repository.models.targets
        if not path.startswith("deltas/")
    }


def whole(device: Device, content: dict[str, bytes]) -> dict[str, bytes]:
    """What lies under true names, all of which must be true."""
    here = {path: (device.into / path).read_bytes() for path in content if (device.into / path).exists()}
    assert all(content[path] == data for path, data in here.items())
    return here


def killed_at(device: Device, step: int, have: Path) -> bool:
    """Run a fetch in a process that gets SIGKILL before its ``step``-th touch of the disk. False: it ended before."""
    settings = device.settings()
    request = Request.model_validate_json(device.request(have=[str(have)]))
    child = os.fork()
    if child == 0:
        left, below = step, str(device.folder)

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal left
            if event in STEPS and any(str(a).startswith(below) for a in arguments[:2]):
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1

        sys.addaudithook(hook)
        code = 99
        try:
            code = Run(settings, request, io.StringIO(), QUICK).run(Pace(QUICK, 60))
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


@pytest.mark.parametrize("every", [11, pytest.param(1, marks=[pytest.mark.long, pytest.mark.timeout(1800)])])
def test_killed_before_any_touch_of_the_disk_the_next_run_ends_it(
    tmp_path: Path, server: Served, repository: SimulatedRepository, content: dict[str, bytes], every: int
) -> None:
    (tmp_path / "old").write_bytes(OLD)
    for step in range(0, 10_000, every):
        device = Device(tmp_path / "devices" / str(step), server.url, repository.root_file)
        if not killed_at(device, step, tmp_path / "old"):
            break
        whole(device, content)
        answer = device.fetch(have=[str(tmp_path / "old")])
        assert answer.errors == [] and whole(device, content) == content, step
        left = [path for path in device.folder.rglob("*") if path.name.endswith((".part", ".made"))]
        assert left == [], step
        shutil.rmtree(device.folder)
    assert step > 60, "there are fewer steps than the test believes"


def test_killed_again_and_again_a_device_still_arrives(
    tmp_path: Path, device: Device, content: dict[str, bytes]
) -> None:
    (tmp_path / "old").write_bytes(OLD)
    for step in range(0, 400, 9):
        if not killed_at(device, step, tmp_path / "old"):
            break
    assert whole(device, content) == content


ON_A_SMALL_DISK = """
import shutil, sys
from pathlib import Path
from tests.edge.updates.device import Device
card, url, root = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
codes = []
for free_kib in range(0, 260, 8):
    device = Device(card / "device", url, root)
    settings = device.settings()
    free = shutil.disk_usage(card).free
    ballast = card / "ballast"
    ballast.write_bytes(bytes(max(0, free - free_kib * 1024)))
    answer = device.run(settings)
    codes.append(answer.errors[-1].code if answer.errors else "")
    for path in device.into.rglob("*"):
        if path.is_file() and path.name != "lock" and not path.name.startswith("."):
            assert "models" in str(path) and path.stat().st_size == 150_000, path
    ballast.unlink()
    answer = device.fetch()
    assert not answer.errors and len(answer.fetched) == 1, answer
    shutil.rmtree(device.folder)
assert set(codes) == {"", "disk_full"}, codes
assert codes[0] == "disk_full" and codes[-1] == "", codes
print(codes.count("disk_full"), "times full")
"""


def test_a_disk_that_is_full_at_any_write_costs_nothing_but_the_run(
    tmp_path: Path, repository: SimulatedRepository, server: Served
) -> None:
    target = repository.add_model(MODEL, "gun-shot", "7", number=7)
    repository.choose("stable", Stage(wanted=target, fraction=1.0))
    repository.publish()
    card = tmp_path / "card"
    card.mkdir()
    own_disk = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c"]
    mount = f"mount -t tmpfs -o size=700k tmpfs {card}"
    if shutil.which("unshare") is None or subprocess.run([*own_disk, mount], capture_output=True).returncode != 0:
        pytest.skip("may not mount a small disk of its own here")
    done = subprocess.run(
        [
            *own_disk,
            f'{mount} && exec "$0" -c "$@"',
            sys.executable,
            ON_A_SMALL_DISK,
            card,
            server.url,
            repository.root_file,
        ],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) > 10
