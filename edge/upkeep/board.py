"""What the board says about itself: temperature, throttle flags, supply, battery, disk.

Everything is read from sysfs and /proc below ``root`` (``/`` on a device, a tree in tests), and is None
where the board does not say. Nothing here needs a privilege or starts a program.
"""

import os
from collections.abc import Iterator
from pathlib import Path

# The bus node's name differs between boards and kernels (soc, soc@…).
_THROTTLED = "sys/devices/platform/soc*/soc*:firmware/get_throttled"
# Current and power monitors of UPS and solar boards: in1 is the bus voltage (Documentation/hwmon/ina2xx.rst).
_SUPPLY_MONITORS = frozenset({"ina219", "ina220", "ina226", "ina230", "ina231", "ina238", "ina260"})

# Bits of the Pi's flags (Raspberry Pi documentation, vcgencmd get_throttled); +16: has occurred since boot.
UNDER_VOLTAGE = 1 << 0
FREQUENCY_CAPPED = 1 << 1
THROTTLED = 1 << 2
SOFT_TEMPERATURE_LIMIT = 1 << 3
UNDER_VOLTAGE_EARLIER = 1 << 16


def temperature_c(root: Path = Path("/")) -> float | None:
    """Temperature of the processor, in degrees Celsius; the hottest zone where none is called after it."""
    zones: dict[str, float] = {}
    for zone in _entries(root / "sys/class/thermal", "thermal_zone"):
        millidegrees = _number(zone / "temp")
        if millidegrees is not None and -60_000 < millidegrees < 200_000:  # unwired sensors give absurd values
            name = _text(zone / "type") or zone.name
            zones[f"{name} {zone.name}"] = millidegrees / 1000
    processor = [value for name, value in zones.items() if "cpu" in name.lower() or "x86_pkg" in name]
    return max(processor or zones.values(), default=None)


def throttled(root: Path = Path("/")) -> str | None:
    """The Pi's ``throttled`` flags in hex (``0x50005``).

    A kernel without that attribute may still have the under-voltage alarm of ``rpi_volt``; it stands as bit 0.
    """
    for attribute in sorted(root.glob(_THROTTLED)):
        try:
            return f"{int(_text(attribute) or '', 16):#x}"  # the kernel writes hex, with or without 0x
        except ValueError:
            continue
    for monitor in _entries(root / "sys/class/hwmon", "hwmon"):
        if _text(monitor / "name") == "rpi_volt":
            alarm = _number(monitor / "in0_lcrit_alarm")
            return None if alarm is None else f"{UNDER_VOLTAGE if alarm else 0:#x}"
    return None


def supply_v(root: Path = Path("/")) -> float | None:
    """Voltage that feeds the board: a power monitor, else mains or USB, else the battery.

    A Pi 5 measures its input too, but tells it only through the firmware mailbox, which a hardened unit must not
    open; its under-voltage flag is in `throttled`.
    """
    for monitor in _entries(root / "sys/class/hwmon", "hwmon"):
        millivolts = _number(monitor / "in1_input")
        if _text(monitor / "name") in _SUPPLY_MONITORS and millivolts is not None:
            return millivolts / 1000
    supplies = list(_entries(root / "sys/class/power_supply", ""))
    for kinds in (("Mains", "USB", "Wireless"), ("Battery", "UPS")):
        for supply in supplies:
            microvolts = _number(supply / "voltage_now")
            unplugged = _text(supply / "online") == "0"
            if _text(supply / "type") in kinds and microvolts is not None and not unplugged:
                return microvolts / 1e6
    return None


def battery_percent(root: Path = Path("/")) -> float | None:
    """Charge of the emptiest battery that feeds this system."""
    charges = []
    for supply in _entries(root / "sys/class/power_supply", ""):
        percent = _number(supply / "capacity")
        # scope "Device" is the battery of a mouse or a headset.
        if percent is not None and _text(supply / "scope") != "Device" and 0 <= percent <= 100:
            charges.append(percent)
    return min(charges, default=None)


def disk_free_bytes(path: Path) -> int | None:
    """Bytes that an ordinary user may still write where ``path`` lies."""
    try:
        status = os.statvfs(path)
    except OSError:
        return None
    return status.f_bavail * status.f_frsize


def volatile(path: Path, root: Path = Path("/")) -> str | None:
    """Why a folder will not survive a reboot, in words; None where it will (or cannot be told).

    ``/proc/self/mountinfo`` says what it lies on: memory (tmpfs, ramfs), or an overlay whose upper half is in memory,
    which is what the Pi's "overlay file system" option makes of the root.
    """
    mounts = _mounts(root)
    mount = _mount_of(path, mounts)
    if mount is None:
        return None
    where, kind, options = mount
    if kind in ("tmpfs", "ramfs"):
        return f"{where} is a {kind}: it lies in memory"
    if kind in ("overlay", "overlayfs"):
        upper = next((option.removeprefix("upperdir=") for option in options if option.startswith("upperdir=")), None)
        if upper is None:
            return f"{where} is a read-only overlay"
        below = _mount_of(Path(upper), [m for m in mounts if m[0] != where])
        if below is not None and below[1] in ("tmpfs", "ramfs"):
            return f"{where} is an overlay whose changes lie in memory ({upper} on {below[1]})"
    return None


_Mount = tuple[str, str, list[str]]


def _mounts(root: Path) -> list[_Mount]:
    """(mount point, file system, super options) of every mount, in the order they were made (proc(5))."""
    found = []
    for line in (_text(root / "proc/self/mountinfo") or "").splitlines():
        left, _, right = line.partition(" - ")
        fields, after = left.split(), right.split()
        if len(fields) >= 5 and len(after) >= 3:
            point = fields[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
            found.append((point, after[0], after[2].split(",")))
    return found


def _mount_of(path: Path, mounts: list[_Mount]) -> _Mount | None:
    """The last and deepest mount that holds ``path``."""
    resolved = path.resolve()
    holding = [mount for mount in mounts if resolved.is_relative_to(mount[0])]
    return max(reversed(holding), key=lambda mount: len(Path(mount[0]).parts), default=None)


def _entries(folder: Path, prefix: str) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    yield from (entry for entry in entries if entry.name.startswith(prefix))


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:  # absent, or a sensor that answers EIO or EAGAIN
        return None


def _number(path: Path) -> float | None:
    text = _text(path)
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
