import pytest

from edge.settings_file import SettingsError
from edge.updates.fetching.looking import LookFailed, look, to_table
from edge.updates.release import Floor, Stage
from tests.edge.updates.device import Device
from tests.edge.updates.simulated_repository import SimulatedRepository


def test_a_person_sees_what_is_offered_and_what_is_refused(
    repository: SimulatedRepository, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.updates.fetching.looking.Request", _with_a_set_clock())
    repository.set_floor(Floor(overlay=9))
    model = repository.add_model(b"x" * 1234, "gun-shot", "7", number=70)
    repository.choose("stable", Stage(wanted=model, fraction=1.0), program=Stage(wanted="programs/9", fraction=1.0))
    repository.publish()
    device.settings()
    table = to_table(look(device.config))
    assert "gun-shot 7" in table and "1,234" in table and "70" in table
    assert "refused: programs/9/" in table and "1,234" not in table.partition("refused")[2]
    assert not device.metadata.exists()


def test_a_look_without_an_address_says_what_to_do(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.updates.fetching.looking.Request", _with_a_set_clock())
    device.set("updates", url=None)
    device.settings()
    with pytest.raises(LookFailed, match=r"updates\.url is not set"):
        look(device.config)
    device.config.write_text("updates: {urk: 1}")
    with pytest.raises(SettingsError):
        look(device.config)


def _with_a_set_clock() -> object:
    """The machine that runs the tests may have no time service."""
    from functools import partial

    from edge.updates.offer import Request

    return partial(Request, clock_synchronised=True)
