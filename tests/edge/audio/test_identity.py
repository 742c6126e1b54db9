from pathlib import Path

import pytest

from edge.audio.identity import list_cards, select, stable_name
from edge.audio.pulse import choose
from edge.audio.source import SourceError, SourceLost
from tests.edge.audio.sysfs import CHEAP_ONE, CHEAP_TWO, SAMSON, UsbCard, add_board, add_usb


@pytest.fixture
def pi(tmp_path: Path) -> Path:
    """A Pi 5 with an HDMI output, a microphone HAT, a USB loudspeaker and a good USB microphone."""
    add_board(tmp_path, 0, "vc4hdmi0", records=False)
    add_board(tmp_path, 4, "sndrpii2scard", records=True)
    add_usb(tmp_path, SAMSON)
    add_usb(tmp_path, UsbCard(5, "Speaker", "3-1.7", "1234", "5678", "X", records=False))
    return tmp_path


def test_only_cards_that_record_are_listed_with_what_they_are(pi: Path) -> None:
    microphone, hat = list_cards(pi)
    assert (microphone.number, microphone.name) == (2, "Mic")
    assert microphone.usb == "usb:17a0:0305:S12345"
    assert microphone.usb_port == "usb-port:3-1"
    assert microphone.product_name == "Samson Technologies Samson Meteor Mic"
    assert (hat.number, hat.card, hat.usb, hat.usb_port) == (4, "card:sndrpii2scard", "", "")


@pytest.mark.parametrize(
    "device",
    ["usb:17a0:0305:S12345", "usb:17A0:0305:S12345", "usb:17a0:0305:", "usb:17a0:0305", "usb-port:3-1", "card:Mic"],
)
def test_a_microphone_is_found_by_each_of_its_names(pi: Path, device: str) -> None:
    assert select(device, list_cards(pi)).number == 2


def test_a_microphone_is_found_after_its_number_has_moved(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    add_usb(before, CHEAP_ONE)
    add_usb(before, SAMSON)
    add_usb(after, UsbCard(2, *list(CHEAP_ONE.__dict__.values())[1:]))
    add_usb(after, UsbCard(1, *list(SAMSON.__dict__.values())[1:]))
    name = stable_name(select("card:Mic", list_cards(before)), list_cards(before))
    assert name == "usb:17a0:0305:S12345"
    assert select(name, list_cards(after)).number == 1


def test_of_two_identical_microphones_neither_is_taken_and_the_message_says_how_to_choose(tmp_path: Path) -> None:
    add_usb(tmp_path, CHEAP_ONE)
    add_usb(tmp_path, CHEAP_TWO)
    cards = list_cards(tmp_path)
    with pytest.raises(SourceError, match=r"fits 2 microphones.*usb-port:3-2\.1 or usb-port:3-2\.4") as refused:
        select("usb:0d8c:0014:", cards)
    assert refused.value.reason == "ambiguous"
    assert select("usb-port:3-2.4", cards).number == 3
    assert [stable_name(card, cards) for card in cards] == ["usb-port:3-2.1", "usb-port:3-2.4"]


def test_two_microphones_that_share_a_made_up_serial_are_told_apart_by_their_socket(tmp_path: Path) -> None:
    add_usb(tmp_path, UsbCard(1, "A", "1-1", "0d8c", "0014", "0000"))
    add_usb(tmp_path, UsbCard(2, "B", "1-2", "0d8c", "0014", "0000"))
    cards = list_cards(tmp_path)
    with pytest.raises(SourceError, match="usb-port:1-1 or usb-port:1-2"):
        select("usb:0d8c:0014:0000", cards)


def test_a_port_names_the_socket_and_not_one_that_begins_alike(tmp_path: Path) -> None:
    add_usb(tmp_path, UsbCard(1, "A", "1-1.2", "0d8c", "0014"))
    add_usb(tmp_path, UsbCard(2, "B", "1-1.21", "0d8c", "0014"))
    assert select("usb-port:1-1.2", list_cards(tmp_path)).number == 1


@pytest.mark.parametrize("device", ["usb:17a0:0305:OTHER", "usb:ffff:0305:", "usb-port:9-9", "card:Nothing"])
def test_a_microphone_that_is_not_plugged_in_is_lost_and_the_message_says_what_is(pi: Path, device: str) -> None:
    with pytest.raises(SourceLost, match="usb:17a0:0305:S12345, card:sndrpii2scard") as lost:
        select(device, list_cards(pi))
    assert lost.value.reason == "not_found"


@pytest.mark.parametrize("device", ["0", "hw:1,0", "usb:17a0", "usb:zzzz:0305:", "card:", "usb-port:", "plughw:2", ""])
def test_an_index_or_nonsense_is_refused_with_the_forms_that_work(pi: Path, device: str) -> None:
    with pytest.raises(SourceError, match=r"usb:VENDOR:PRODUCT:SERIAL.*ecosight-edge devices"):
        select(device, list_cards(pi))


def test_a_machine_without_sound_has_no_cards(tmp_path: Path) -> None:
    assert list_cards(tmp_path) == []


def test_a_card_that_vanishes_while_it_is_read_is_no_crash(pi: Path) -> None:
    (pi / "sys/class/sound/card2").resolve().joinpath("id").unlink()
    (pi / "sys/class/sound/card2/device").unlink()
    assert [card.name for card in list_cards(pi)] == ["2", "sndrpii2scard"]


def test_a_sound_servers_source_is_chosen_by_its_card_and_no_monitor_is_taken() -> None:
    sources = [
        {"name": "out.monitor", "properties": {"alsa.card": "2", "device.class": "monitor"}},
        {"name": "alsa_input.usb-Samson", "properties": {"alsa.card": "2", "device.class": "sound"}},
        {"name": "pipe", "properties": {}},
    ]
    assert choose(sources, 2) == "alsa_input.usb-Samson"
    with pytest.raises(SourceLost, match="card 7"):
        choose(sources, 7)
