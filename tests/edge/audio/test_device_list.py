import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from edge.audio.device_list import Meter, list_rows, show_devices
from edge.audio.identity import list_cards, select
from edge.audio.microphone import Microphone
from edge.audio.source import Source
from edge.settings import AudioSettings
from tests.edge.audio.fake_portaudio import Device, FakePortAudio
from tests.edge.audio.sysfs import CHEAP_ONE, CHEAP_TWO, SAMSON, UsbCard, add_board, add_usb
from tests.edge.audio.test_microphone import Tone


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for card in (SAMSON, CHEAP_ONE, CHEAP_TWO):
        add_usb(tmp_path, card)
    add_board(tmp_path, 4, "sndrpii2scard", records=True)
    return tmp_path


def test_what_is_printed_selects_that_microphone_and_no_other(root: Path) -> None:
    cards = list_cards(root)
    rows = list_rows(AudioSettings(device="usb-port:3-2.4"), cards)
    assert [row.device for row in rows] == [
        "usb-port:3-2.1",
        "usb:17a0:0305:S12345",
        "usb-port:3-2.4",
        "card:sndrpii2scard",
        "default",
    ]
    for row, card in zip(rows, cards, strict=False):
        for name in (row.device, *row.also.split()):
            assert select(name, cards) == card
    assert [row.chosen for row in rows] == [False, False, True, False, False]


def shown(root: Path, machine: FakePortAudio, seconds: float, device: str = "default") -> tuple[int, str]:
    text = io.StringIO()
    console = Console(file=text, width=200)

    def open_microphone(settings: AudioSettings) -> Source:
        return Microphone(settings, root=root, environment={}, fresh=machine.fresh)

    code = show_devices(AudioSettings(device=device), seconds, root, console, open_microphone)
    return code, text.getvalue()


def test_the_table_shows_which_microphone_hears_which_is_mute_and_which_is_held(root: Path) -> None:
    machine = FakePortAudio(
        [Device("USB Audio Device (hw:1,0)"), Device("Meteor (hw:2,0)", play=Tone(48_000, amplitude=0.5))]
    )
    code, text = shown(root, machine, 0.4, device="usb:17a0:0305:S12345")
    lines = text.splitlines()
    assert code == 0
    assert any("usb:17a0:0305:S12345" in x and "hears, peak -6 dBFS" in x and "(configured)" in x for x in lines)
    assert any("usb-port:3-2.1" in line and "only zeros" in line for line in lines)
    assert any("usb-port:3-2.4" in line and "held by another" in line for line in lines)
    assert "█" in text


def test_without_a_microphone_the_exit_code_says_so(tmp_path: Path) -> None:
    code, text = shown(tmp_path, FakePortAudio([]), 0.2)
    assert code == 1
    assert "No sound card that records is plugged in" in text
    assert shown(tmp_path, FakePortAudio([]), 0.0)[0] == 1


def test_a_name_with_brackets_is_printed_as_it_is(tmp_path: Path) -> None:
    add_usb(tmp_path, UsbCard(1, "A", "1-1", "0d8c", "0014", "7", "Maker", "Mic [red]loud[/red] [/]"))
    code, text = shown(tmp_path, FakePortAudio([]), 0.0)
    assert code == 0
    assert "Mic [red]loud[/red] [/]" in text


def test_the_meter_keeps_the_highest_level() -> None:
    meter = Meter()
    meter.write(np.full(10, 0.5, np.float32))
    meter.write(np.zeros(10, np.float32))
    assert meter.highest_dbfs == pytest.approx(-6.02, abs=0.01)
    assert meter.bar == "·" * 20
