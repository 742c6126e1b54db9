"""Which sound card is which microphone, by what does not change: USB identity, port, or the card's name.

An ALSA card number moves at each reboot and replugging, and PortAudio knows nothing better. The kernel does:
``/sys/class/sound/cardN/device`` leads into the USB device, whose folder is named after the port
(``1-1.2``) and holds vendor, product and serial (Documentation/ABI/testing/sysfs-bus-usb).

A configured device is one of

- ``usb:VENDOR:PRODUCT:SERIAL`` (serial may be empty), for a microphone that may change its port;
- ``usb-port:1-1.2``, for the socket, whichever microphone is in it: tells identical ones apart;
- ``card:NAME``, ALSA's name of the card, for what is not on USB;
- ``default``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.audio.source import SourceError, SourceLost
from edge.settings_file import MICROPHONE


@dataclass(frozen=True, slots=True)
class Card:
    """One sound card that can record."""

    number: int
    """ALSA's index at this moment. Never remembered."""
    name: str
    """ALSA's id (``Microphone``, ``sndrpihifiberry``)."""
    product_name: str = ""
    """What the maker calls it."""
    vendor: str = ""
    """USB vendor id, four hex digits; empty for a card that is not on USB."""
    product: str = ""
    serial: str = ""
    port: str = ""
    """USB port path (``1-1.2``)."""

    @property
    def usb(self) -> str:
        """``usb:VENDOR:PRODUCT:SERIAL``, empty without USB."""
        return f"usb:{self.vendor}:{self.product}:{self.serial}" if self.vendor else ""

    @property
    def usb_port(self) -> str:
        return f"usb-port:{self.port}" if self.port else ""

    @property
    def card(self) -> str:
        return f"card:{self.name}"

    def answers_to(self, device: str) -> bool:
        """Whether the configured identity names this card."""
        kind, _, rest = device.partition(":")
        if kind == "usb":
            vendor, _, rest = rest.partition(":")
            product, _, serial = rest.partition(":")
            wanted = (vendor.lower(), product.lower())
            return bool(self.vendor) and wanted == (self.vendor, self.product) and serial in ("", self.serial)
        return (kind == "usb-port" and bool(rest) and rest == self.port) or (kind == "card" and rest == self.name)


def list_cards(root: Path = Path("/")) -> list[Card]:
    """The cards that can record, by number. ``root`` is for tests on trees of their own."""
    folder = root / "sys/class/sound"
    cards = []
    for path in folder.glob("card*") if folder.is_dir() else ():
        match = re.fullmatch(r"card(\d+)", path.name)
        if match and _records(folder, path, int(match[1])):
            cards.append(_read_card(path, int(match[1])))
    return sorted(cards, key=lambda card: card.number)


def select(device: str, cards: Sequence[Card]) -> Card:
    """The one card that the configured identity names.

    Raises:
        SourceLost: ``not_found``: none is plugged in now.
        SourceError: the identity is not one, or several cards answer to it.
    """
    if device == "default" or not re.fullmatch(MICROPHONE, device):
        raise SourceError(
            f"audio.device {device!r} is not usb:VENDOR:PRODUCT:SERIAL, usb-port:PORT, card:NAME or default; "
            "`ecosight-edge devices` prints what to paste"
        )
    found = [card for card in cards if card.answers_to(device)]
    if not found:
        there = ", ".join(stable_name(card, cards) for card in cards) or "none"
        raise SourceLost("not_found", f"no microphone {device} (plugged in: {there})")
    if len(found) > 1:
        ways = " or ".join(stable_name(card, cards) for card in found)
        raise SourceError(
            f"audio.device {device} fits {len(found)} microphones; tell them apart by their socket: {ways}", "ambiguous"
        )
    return found[0]


def stable_name(card: Card, cards: Sequence[Card]) -> str:
    """What to paste into ``audio.device`` for this card, given what else is plugged in."""
    for name in (card.usb if card.serial else "", card.usb_port, card.card):
        if name and sum(other.answers_to(name) for other in cards) <= 1:
            return name
    return card.card


def _records(folder: Path, path: Path, number: int) -> bool:
    # A capture stream is pcmC1D0c; it stands in the class folder, and below the card in older kernels.
    pattern = f"pcmC{number}D*c"
    return any(folder.glob(pattern)) or any(path.glob(pattern))


def _read_card(path: Path, number: int) -> Card:
    name = _text(path / "id") or str(number)
    # `device` is the USB interface (1-1.2:1.0); its parent is the device. Climb in case a driver nests deeper.
    here = (path / "device").resolve()
    for _ in range(6):
        if (here / "idVendor").is_file():
            return Card(
                number=number,
                name=name,
                product_name=" ".join(filter(None, (_text(here / "manufacturer"), _text(here / "product")))),
                vendor=_text(here / "idVendor").lower(),
                product=_text(here / "idProduct").lower(),
                serial=_text(here / "serial"),
                port=here.name,
            )
        here = here.parent
    return Card(number=number, name=name)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
