"""The device installer, into folders; nothing of this machine is touched."""

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.servers import missing

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "script" / "install-device"

pytestmark = pytest.mark.server


@pytest.fixture(autouse=True)
def findmnt() -> None:
    if shutil.which("findmnt") is None:
        missing("findmnt")


def install(*arguments: str | Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"], "LANG": "C.UTF-8"}
    command = [str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)


def tree(root: Path) -> dict[str, bytes]:
    return {str(file.relative_to(root)): file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()}


def fake(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return folder


def test_shellcheck_has_nothing_to_say() -> None:
    if shutil.which("shellcheck") is None:
        missing("shellcheck")
    checked = subprocess.run(["shellcheck", str(SCRIPT)], capture_output=True, text=True)
    assert (checked.returncode, checked.stdout) == (0, "")


def test_configuration_and_units_are_put_in_their_places(tmp_path: Path) -> None:
    done = install("--root", tmp_path, "--files-only", "--site", "ridge", "--device", "cedar-3")
    assert done.returncode == 0, done.stderr
    assert set(tree(tmp_path)) == {
        "etc/ecosight/edge.yaml",
        "etc/systemd/system/ecosight-edge.service",
        "etc/systemd/system/ecosight-edge@.service",
        "etc/systemd/system/ecosight-update.path",
        "etc/systemd/system/ecosight-update.service",
        "etc/systemd/journald.conf.d/ecosight.conf",
    }
    configuration = yaml.safe_load((tmp_path / "etc/ecosight/edge.yaml").read_text())
    assert (configuration["site"], configuration["device"]) == ("ridge", "cedar-3")
    assert stat.S_IMODE((tmp_path / "etc/credstore").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "var/lib/ecosight-edge").stat().st_mode) == 0o750


def test_a_second_run_keeps_the_configuration_and_changes_nothing(tmp_path: Path) -> None:
    install("--root", tmp_path, "--files-only")
    configuration = tmp_path / "etc/ecosight/edge.yaml"
    configuration.write_text("site: mine\n")
    before = tree(tmp_path)
    done = install("--root", tmp_path, "--files-only", "--site", "other")
    assert done.returncode == 0, done.stderr
    assert tree(tmp_path) == before
    assert "is kept as it is" in done.stdout


def test_a_configuration_of_ones_own_is_taken(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("site: mine\nstate_dir: /srv/evidence # a stick\n")
    root = tmp_path / "root"
    done = install("--root", root, "--files-only", "--config", own)
    assert done.returncode == 0, done.stderr
    assert (root / "etc/ecosight/edge.yaml").read_bytes() == own.read_bytes()
    assert (root / "srv/evidence/models").is_dir()
    drop_in = root / "etc/systemd/system/ecosight-edge.service.d/state-folder.conf"
    assert drop_in.read_text() == "[Service]\nReadWritePaths=/srv/evidence\n"


def test_a_dry_run_names_every_step_and_does_none(tmp_path: Path) -> None:
    done = install("--dry-run", "--root", tmp_path / "root")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "root").exists()
    for word in ("-m venv", "constraints.txt", "edge.yaml", "ecosight-edge@.service"):
        assert word in done.stdout


def test_a_dry_run_on_the_machine_itself_shows_packages_user_and_service() -> None:
    if shutil.which("apt-get") is None:
        missing("apt-get")
    was_installed = Path("/opt/ecosight").exists()
    done = install("--dry-run")
    assert done.returncode == 0, done.stderr
    for word in ("system packages", "usermod", "systemctl enable", "doctor --config", "systemctl start"):
        assert word in done.stdout
    assert Path("/opt/ecosight").exists() == was_installed


def test_a_state_folder_in_memory_is_refused(tmp_path: Path) -> None:
    shared_memory = Path("/dev/shm")
    if not shared_memory.is_dir():
        pytest.skip("no /dev/shm here")
    root = shared_memory / f"ecosight-{os.getpid()}"
    done = install("--root", root, "--files-only")
    assert done.returncode == 1
    assert "lies in memory (tmpfs)" in done.stderr
    assert not root.exists(), "refused before anything was changed"


@pytest.mark.parametrize(
    ("answers", "word"),
    [
        ({"/": ("overlay", "rw,lowerdir=/a,upperdir=/up"), "/up": ("tmpfs", "rw")}, "overlay in memory"),
        ({"/": ("overlay", "ro,lowerdir=/a:/b")}, "read-only overlay"),
        ({"/": ("overlay", "rw,lowerdir=/a,upperdir=/up"), "/up": ("ext4", "rw")}, None),
        ({"/": ("ext4", "rw")}, None),
    ],
    ids=["pi-overlay", "read-only", "container", "disk"],
)
def test_an_overlay_in_memory_is_refused(tmp_path: Path, answers: dict[str, tuple[str, str]], word: str | None) -> None:
    upper = answers.get("/up", ("", ""))[0]
    kind, options = answers["/"]
    script = (
        f'case "$5" in /up) echo {upper or "none"} ;; '
        f'*) case "$3" in FSTYPE) echo {kind} ;; OPTIONS) echo {options} ;; esac ;; esac'
    )
    fakes = fake(tmp_path / "bin", "findmnt", script)
    done = install("--root", tmp_path / "root", "--files-only", path=fakes)
    if word is None:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 1
        assert word in done.stderr


def test_where_findmnt_fails_stat_says_what_the_file_system_is(tmp_path: Path) -> None:
    fakes = fake(tmp_path / "bin", "findmnt", "exit 1")
    stat_of = 'case "$*" in *--file-system*) echo {kind} ;; *) exec /usr/bin/stat "$@" ;; esac'
    fake(tmp_path / "bin", "stat", stat_of.format(kind="ext2/ext3"))
    done = install("--root", tmp_path / "disk", "--files-only", path=fakes)
    assert done.returncode == 0, done.stderr
    for kind, word in (("tmpfs", "lies in memory (tmpfs)"), ("overlayfs", "findmnt cannot tell")):
        fake(tmp_path / "bin", "stat", stat_of.format(kind=kind))
        done = install("--root", tmp_path / kind, "--files-only", path=fakes)
        assert done.returncode == 1
        assert word in done.stderr
        assert not (tmp_path / kind).exists()


def test_a_file_system_that_nothing_can_name_is_refused_with_a_reason(tmp_path: Path) -> None:
    fakes = fake(tmp_path / "bin", "findmnt", "echo no /proc >&2; exit 1")
    fake(tmp_path / "bin", "stat", "exit 1")
    done = install("--root", tmp_path / "root", "--files-only", path=fakes)
    assert done.returncode == 1
    assert "neither findmnt nor stat can tell" in done.stderr
    assert not (tmp_path / "root").exists()


def test_a_32_bit_system_and_an_old_python_are_refused_at_once(tmp_path: Path) -> None:
    for name, script, word in (
        ("getconf", "echo 32", "32-bit"),
        ("python3", 'case "$1" in --version) echo Python 3.9.2 ;; *) exit 1 ;; esac', "Python 3.9.2 is too old"),
        ("uname", 'case "$1" in -s) echo Linux ;; -m) echo riscv64 ;; *) echo box ;; esac', "riscv64"),
    ):
        fakes = fake(tmp_path / f"bin-{name}", name, script)
        done = install("--root", tmp_path / "root", path=fakes)
        assert done.returncode == 1
        assert word in done.stderr
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--sight", "x"], "unknown option --sight"),
        (["--site"], "--site needs a value"),
        (["--site", "a/b"], "--site"),
        (["--model", "/absent/model.tflite"], "/absent/model.tflite"),
        (["--wheels", "/absent"], "/absent"),
    ],
)
def test_a_mistaken_option_is_named(tmp_path: Path, arguments: list[str], word: str) -> None:
    done = install("--root", tmp_path / "root", *arguments)
    assert done.returncode == 1
    assert word in done.stderr
    assert not (tmp_path / "root").exists()


def installed_as_before_there_were_two(root: Path) -> None:
    """One environment, in ``/opt/ecosight`` itself."""
    opt = root / "opt/ecosight"
    subprocess.run(["/usr/bin/python3", "-m", "venv", str(opt)], check=True, timeout=280)
    for name in ("ecosight-edge", "ecosight-convert", "ecosight-trainer"):
        (opt / "bin" / name).write_text("#!/bin/sh\necho old\n")
        (opt / "bin" / name).chmod(0o755)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("before", ["nothing", "one environment"])
def test_a_bare_folder_or_an_old_installation_becomes_a_working_program(tmp_path: Path, before: str) -> None:
    if before == "one environment":
        installed_as_before_there_were_two(tmp_path)
    command = [str(SCRIPT), "--root", str(tmp_path), "--site", "ridge", "--device", "cedar"]
    subprocess.run(command, check=True, timeout=280)
    program = tmp_path / "opt/ecosight/bin/ecosight-edge"
    configuration = tmp_path / "etc/ecosight/edge.yaml"
    shown = subprocess.run([program, "config", "check", "--config", configuration], capture_output=True, text=True)
    assert "site ridge, device cedar" in shown.stdout
    opt = tmp_path / "opt/ecosight"
    assert {path.name for path in opt.iterdir()} == {"a", "bin", "current", "before-start", "update-program"}
    assert {path.name for path in (opt / "bin").iterdir()} == {"ecosight-edge", "ecosight-convert", "ecosight-trainer"}
    assert all(path.is_symlink() for path in (opt / "bin").iterdir())


BUNDLE = {
    "ecosight_bundle": 1,
    "site": "ridge",
    "device": "cedar-3",
    "mqtt": {"host": "broker.example"},
    "secrets": {"mqtt_password": "correct horse"},
}


def test_a_bundle_gives_a_device_its_name_and_its_secrets(tmp_path: Path) -> None:
    file = tmp_path / "cedar.bundle"
    file.write_text(json.dumps(BUNDLE))
    file.chmod(0o600)
    root = tmp_path / "root"
    done = install("--root", root, "--files-only", "--bundle", file)
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load((root / "etc/ecosight/edge.yaml").read_text())["device"] == "cedar-3"
    secret = root / "etc/credstore/ecosight-edge.mqtt_password"
    assert (secret.read_text(), stat.S_IMODE(secret.stat().st_mode)) == ("correct horse", 0o600)
    assert "remove it from the device" in done.stderr
    assert "correct horse" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("change", "more", "word"),
    [
        ({"device": "a/b"}, [], "device = 'a/b'"),
        ({}, ["--site", "other"], "leave --site out"),
    ],
)
def test_a_bundle_that_cannot_be_used_is_refused_before_anything_is_changed(
    tmp_path: Path, change: dict[str, str], more: list[str], word: str
) -> None:
    file = tmp_path / "cedar.bundle"
    file.write_text(json.dumps({**BUNDLE, **change}))
    done = install("--root", tmp_path / "root", "--files-only", "--bundle", file, *more)
    assert done.returncode == 1
    assert word in done.stderr
    assert not (tmp_path / "root").exists()


def test_in_a_chroot_the_root_is_the_root() -> None:
    done = install("--root", "/", "--dry-run")
    if "lies in memory" in done.stderr:
        pytest.skip("the state folder of this machine lies in memory")
    assert done.returncode == 0, done.stderr
    assert "/opt/ecosight/a/bin/python" in done.stdout
    assert "apt-get" not in done.stdout
    assert "systemctl" not in done.stdout
