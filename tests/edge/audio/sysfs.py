"""sysfs trees of machines with USB microphones, built below a folder.

They are written after the layout that the kernel documents (Documentation/ABI/testing/sysfs-bus-usb among others), not
recorded from a machine: the class entry is a link into the device tree, ``device`` leads from there to the USB
interface, and the interface lies in the device's folder, which is named after the port. Names and ids are examples.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class UsbCard:
    number: int
    name: str
    port: str
    vendor: str
    product: str
    serial: str | None = None
    """None: the device has none, and the kernel shows no file."""
    manufacturer: str = ""
    product_name: str = ""
    records: bool = True


PI_5 = "sys/devices/platform/axi/1000120000.pcie/1f00300000.usb/xhci-hcd.1/usb3"

SAMSON = UsbCard(2, "Mic", "3-1", "17a0", "0305", "S12345", "Samson Technologies", "Samson Meteor Mic")
CHEAP_ONE = UsbCard(1, "Device", "3-2.1", "0d8c", "0014", None, "C-Media Electronics Inc.", "USB Audio Device")
CHEAP_TWO = UsbCard(3, "Device_1", "3-2.4", "0d8c", "0014", None, "C-Media Electronics Inc.", "USB Audio Device")


def add_usb(root: Path, card: UsbCard) -> None:
    hub, _, leaf = card.port.rpartition(".")
    device = root / PI_5 / (f"{hub}/{hub}.{leaf}" if hub else card.port)
    interface = device / f"{card.port}:1.0"
    entry = interface / "sound" / f"card{card.number}"
    _write(device / "idVendor", card.vendor)
    _write(device / "idProduct", card.product)
    _write(device / "manufacturer", card.manufacturer)
    _write(device / "product", card.product_name)
    if card.serial is not None:
        _write(device / "serial", card.serial)
    _write(interface / "bInterfaceClass", "01")
    _write(entry / "id", card.name)
    _write(entry / "number", str(card.number))
    _link(entry / "device", interface)
    _enter(root, entry, card.number, card.records)


def add_board(root: Path, number: int, name: str, records: bool) -> None:
    """A card of the board itself: HDMI (plays only) or a microphone HAT on I2S."""
    device = root / f"sys/devices/platform/soc/soc:{name}"
    entry = device / "sound" / f"card{number}"
    _write(entry / "id", name)
    _link(entry / "device", device)
    _enter(root, entry, number, records)


def _enter(root: Path, entry: Path, number: int, records: bool) -> None:
    kind = f"pcmC{number}D0{'c' if records else 'p'}"
    (entry / kind).mkdir()
    sound = root / "sys/class/sound"
    sound.mkdir(parents=True, exist_ok=True)
    _link(sound / f"card{number}", entry)
    _link(sound / kind, entry / kind)
    _link(sound / f"controlC{number}", entry)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def _link(path: Path, target: Path) -> None:
    path.symlink_to(Path("/".join([".."] * (len(path.parent.parts) - 1))) / Path(*target.parts[1:]))
