"""The units, judged by systemd's own tools."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edge.settings import EdgeSettings
from edge.updates.program.kind import REQUEST
from edge.updates.program.records import Records
from tests.servers import missing

UNITS = Path(__file__).resolve().parents[2] / "systemd"
SERVICE = UNITS / "ecosight-edge.service"
TEMPLATE = UNITS / "ecosight-edge@.service"
UPDATE = UNITS / "ecosight-update.service"
LOOK = UNITS / "ecosight-update.path"
PROGRAM = "/opt/ecosight/bin/ecosight-edge"
SCRIPTS = ("/opt/ecosight/before-start", "/opt/ecosight/update-program")
MOST_EXPOSURE = 2.5

pytestmark = pytest.mark.server


@pytest.fixture(autouse=True)
def systemd_analyze() -> None:
    if shutil.which("systemd-analyze") is None:
        missing("systemd-analyze")


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", "--no-pager", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def placed(unit: Path, folder: Path, name: str = "") -> Path:
    """A copy whose program exists, as ``verify`` wants it."""
    text = unit.read_text(encoding="utf-8")
    programs = [program for program in (PROGRAM, *SCRIPTS) if program in text]
    assert programs or unit.suffix == ".path"
    for program in programs:
        text = text.replace(program, shutil.which("true") or "/bin/true")
    copy = folder / (name or unit.name)
    copy.write_text(text, encoding="utf-8")
    return copy


def directives(unit: Path) -> list[tuple[str, str]]:
    lines = unit.read_text(encoding="utf-8").splitlines()
    return [tuple(line.split("=", 1)) for line in lines if line and line[0] not in "#["]  # type: ignore[misc]


@pytest.mark.parametrize("unit", [SERVICE, TEMPLATE, UPDATE, LOOK], ids=lambda unit: unit.name)
def test_systemd_has_nothing_to_say_about_the_unit(unit: Path, tmp_path: Path) -> None:
    placed(UPDATE, tmp_path)  # which the path unit starts
    copy = placed(unit, tmp_path, unit.name.replace("@.", "@north."))
    verified = analyze("verify", copy)
    # It exits 0 on unknown keys: what counts is that it says nothing.
    assert (verified.returncode, verified.stderr, verified.stdout) == (0, "", "")


def test_the_check_would_notice_a_misspelt_key(tmp_path: Path) -> None:
    copy = placed(SERVICE, tmp_path)
    copy.write_text(copy.read_text().replace("NoNewPrivileges=", "NoNewPriviledges="))
    assert "NoNewPriviledges" in analyze("verify", copy).stderr


@pytest.mark.parametrize("unit", [SERVICE, TEMPLATE, UPDATE], ids=lambda unit: unit.name)
def test_exposure_is_low(unit: Path, tmp_path: Path) -> None:
    copy = placed(unit, tmp_path, unit.name.replace("@.", "@north."))
    judged = analyze("security", "--offline=yes", f"--threshold={round(10 * MOST_EXPOSURE)}", copy)
    found = re.search(r"Overall exposure level for \S+: (\d+\.\d)", judged.stdout)
    assert found, judged.stdout + judged.stderr
    print(f"exposure {found.group(1)}")
    assert float(found.group(1)) <= MOST_EXPOSURE
    assert judged.returncode == 0


def test_the_microphone_and_the_clock_stay_usable() -> None:
    service = dict(directives(SERVICE))
    assert "MemoryDenyWriteExecute" not in service, "cffi's callbacks would raise MemoryError"
    assert "ProcSubset" not in service, "boot id and sound cards stand in /proc"
    assert "ProtectClock" not in service, "asking whether the clock is synchronised would be forbidden"
    assert service.get("PrivateDevices", "no") == "no"
    assert service["DeviceAllow"] == "char-alsa rw"
    assert service["SupplementaryGroups"] == "audio"


def test_it_is_restarted_for_ever_and_watched() -> None:
    service = dict(directives(SERVICE))
    assert service["Type"] == "notify"
    assert service["Restart"] == "always"
    assert service["StartLimitIntervalSec"] == "0"
    assert 0 < int(service["WatchdogSec"]) <= 60
    assert int(service["TimeoutStopSec"]) > 5, "a clean stop may take 5 s"


def test_the_unit_and_the_settings_agree_on_the_state_folder() -> None:
    assert EdgeSettings().state_dir == Path("/var/lib") / dict(directives(SERVICE))["StateDirectory"]


def test_every_secret_is_an_optional_credential() -> None:
    loaded = [value.partition(":") for key, value in directives(SERVICE) if key == "LoadCredential"]
    assert [name for name, _, _ in loaded] == ["mqtt_password", "s3_access_key", "s3_secret_key"]
    # systemd.exec(5): a missing absolute path fails the start, a missing name is skipped.
    assert not [source for _, _, source in loaded if "/" in source]


def test_the_template_differs_from_the_unit_in_names_only() -> None:
    renamed = [
        (key, value.replace("ecosight-edge-%i", "ecosight-edge").replace("%i.yaml", "edge.yaml").replace(" (%i)", ""))
        for key, value in directives(TEMPLATE)
        if value != "ECOSIGHT_STATE_DIR=%S/ecosight-edge-%i"
    ]
    assert renamed == directives(SERVICE)


def test_root_updates_without_a_network_and_writes_only_where_programs_are() -> None:
    service = dict(directives(UPDATE))
    assert service["PrivateNetwork"] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["ReadWritePaths"].split() == ["/opt/ecosight", f"-{EdgeSettings().state_dir}"]
    assert "User" not in service


def test_the_path_unit_looks_where_the_daemon_asks_and_where_a_trial_is_noted() -> None:
    looked = [Path(value) for key, value in directives(LOOK) if key == "PathExists"]
    records = Records()
    assert looked == [EdgeSettings().state_dir / REQUEST, records.folder / "trial", records.folder / "failed"]


def test_the_starts_are_counted_before_every_start_and_cannot_hinder_one() -> None:
    for unit in (SERVICE, TEMPLATE):
        assert dict(directives(unit))["ExecStartPre"] == f"-+{SCRIPTS[0]} %n"
