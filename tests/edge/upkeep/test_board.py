"""The readers of the board, on trees as the kernel shows them."""

import os
from pathlib import Path

import pytest

from edge.upkeep import board
from tests.edge.upkeep.trees import LAPTOP, PI_4, PI_5, UPS_HAT, write


def test_a_pi_4_says_its_temperature_and_its_flags(tmp_path: Path) -> None:
    root = write(tmp_path, PI_4)
    assert board.temperature_c(root) == 61.835
    assert board.throttled(root) == "0x50005"
    assert board.supply_v(root) is None
    assert board.battery_percent(root) is None


def test_a_pi_5_without_the_flags_still_says_the_under_voltage_alarm(tmp_path: Path) -> None:
    root = write(tmp_path, PI_5)
    assert board.temperature_c(root) == 48.25
    assert board.throttled(root) == "0x0"
    assert board.supply_v(root) is None, "the rp1_adc inputs are not the supply"
    (root / "sys/class/hwmon/hwmon2/in0_lcrit_alarm").write_text("1\n")
    assert board.throttled(root) == "0x1"


@pytest.mark.parametrize("text", ["0x50005\n", "50005\n", "0x50005"])
def test_flags_are_hex_with_or_without_the_prefix(tmp_path: Path, text: str) -> None:
    root = write(tmp_path, {"sys/devices/platform/soc/soc:firmware/get_throttled": text})
    assert board.throttled(root) == "0x50005"


def test_a_ups_board_says_voltage_and_charge(tmp_path: Path) -> None:
    root = write(tmp_path, PI_5 | UPS_HAT)
    assert board.supply_v(root) == 5.032, "in1 is the bus voltage, in0 the shunt"
    assert board.battery_percent(root) == 17


def test_a_laptop_says_the_processor_and_its_own_battery(tmp_path: Path) -> None:
    root = write(tmp_path, LAPTOP)
    assert board.temperature_c(root) == 52
    assert board.battery_percent(root) == 83, "the mouse's battery is not ours"
    assert board.supply_v(root) == 12.345, "mains is unplugged and says no voltage"


def test_a_bare_tree_says_nothing(tmp_path: Path) -> None:
    assert board.temperature_c(tmp_path) is None
    assert board.throttled(tmp_path) is None
    assert board.supply_v(tmp_path) is None
    assert board.battery_percent(tmp_path) is None
    assert board.volatile(Path("/var/lib"), tmp_path) is None


@pytest.mark.parametrize("text", ["", "n/a\n", "\x00\xff", "999999999\n"])
def test_a_sensor_that_talks_nonsense_is_not_believed(tmp_path: Path, text: str) -> None:
    root = write(tmp_path, {"sys/class/thermal/thermal_zone0/temp": text})
    assert board.temperature_c(root) is None


def test_free_space_is_what_an_ordinary_user_may_write(tmp_path: Path) -> None:
    status = os.statvfs(tmp_path)
    free = board.disk_free_bytes(tmp_path)
    assert free is not None
    assert abs(free - status.f_bavail * status.f_frsize) < 200_000_000, "others write here too"
    assert board.disk_free_bytes(tmp_path / "absent") is None


ROOT_MOUNT = "22 1 179:2 / / rw,noatime shared:1 - ext4 /dev/root rw\n"
TMPFS_VAR = "30 22 0:25 / /var rw - tmpfs tmpfs rw\n"
DISK_LIB = "31 30 8:1 / /var/lib rw - ext4 /dev/sda1 rw\n"
TMPFS_LIB = "32 31 0:9 / /var/lib rw - tmpfs tmpfs rw\n"


@pytest.mark.parametrize(
    ("mountinfo", "path", "word"),
    [
        (ROOT_MOUNT, "/var/lib/ecosight-edge", None),
        (ROOT_MOUNT + TMPFS_LIB, "/var/lib/ecosight-edge", "tmpfs"),
        (ROOT_MOUNT + TMPFS_VAR + DISK_LIB, "/var/lib/x", None),
        (ROOT_MOUNT + DISK_LIB + TMPFS_LIB, "/var/lib/x", "tmpfs"),
        (ROOT_MOUNT + "30 22 0:25 / /vari rw - tmpfs tmpfs rw\n", "/var/lib/x", None),
        (ROOT_MOUNT + "30 22 0:25 / /my\\040state rw - tmpfs tmpfs rw\n", "/my state/x", "tmpfs"),
        (
            "20 1 0:20 / /media/root-rw rw - tmpfs tmpfs-root rw\n"
            "22 1 0:30 / / rw - overlay overlayroot rw,lowerdir=/media/root-ro,upperdir=/media/root-rw/overlay\n",
            "/var/lib/ecosight-edge",
            "in memory",
        ),
        (
            "22 1 0:30 / / rw - overlay overlay rw,lowerdir=/l1:/l2,upperdir=/var/lib/containers/1/diff\n",
            "/var/lib/ecosight-edge",
            None,
        ),
        ("22 1 0:30 / / ro - overlay overlay ro,lowerdir=/a:/b\n", "/var/lib/ecosight-edge", "read-only"),
    ],
    ids=["disk", "tmpfs", "disk-in-tmpfs", "tmpfs-over-disk", "similar-name", "space", "pi-overlay", "container", "ro"],
)  # fmt: skip
def test_a_state_folder_in_memory_is_recognised(tmp_path: Path, mountinfo: str, path: str, word: str | None) -> None:
    why = board.volatile(Path(path), write(tmp_path, {"proc/self/mountinfo": mountinfo}))
    if word is None:
        assert why is None
    else:
        assert why is not None
        assert word in why


def test_this_machine_knows_that_shared_memory_is_volatile() -> None:
    shared_memory = Path("/dev/shm")
    if not shared_memory.is_dir():
        pytest.skip("no /dev/shm here")
    assert "tmpfs" in (board.volatile(shared_memory / "state") or "")
