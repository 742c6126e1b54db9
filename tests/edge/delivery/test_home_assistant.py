"""What Home Assistant is told fits what is sent."""

import json

import pytest

from edge.delivery.home_assistant import SENSORS, discovery
from edge.delivery.messages import Health, ModelName, ModelReport
from edge.settings import EdgeSettings


def test_every_sensor_reads_a_field_that_health_has() -> None:
    assert set(SENSORS) <= set(Health.model_fields)


def test_the_topic_has_only_characters_that_home_assistant_takes() -> None:
    settings = EdgeSettings.model_validate({"site": "north.ridge", "device": "oak-1"})
    topic, payload = discovery(settings)
    assert topic == "homeassistant/device/ecosight_north_ridge_oak-1/config"
    body = json.loads(payload)
    assert body["availability"][0]["topic"] == "ecosight/v1/north.ridge/oak-1/availability"
    assert all(part["state_topic"].startswith("ecosight/v1/north.ridge/oak-1/") for part in body["components"].values())
    assert len(payload) < 8000


def shown(key: str, **fields: object) -> dict[str, object]:
    """What an update entity says, with the template engine that Home Assistant uses, and its filter ``to_json``."""
    environment = pytest.importorskip("jinja2", reason="MISSING: jinja2").Environment()
    environment.filters["to_json"] = json.dumps
    _, payload = discovery(EdgeSettings.model_validate({"site": "forest", "device": "oak"}))
    entity = json.loads(payload)["components"][key]
    assert entity["platform"] == "update"
    assert entity["state_topic"] == "ecosight/v1/forest/oak/model"
    assert "command_topic" not in entity
    report = ModelReport(installed=ModelName(name="gun-shot", version="6"), **fields)  # type: ignore[arg-type]
    text = environment.from_string(entity["value_template"]).render(value_json=json.loads(report.to_json()))
    found: dict[str, object] = json.loads(text)
    return found


def test_the_update_entity_shows_what_runs_what_is_offered_and_how_far_it_is() -> None:
    assert shown("model") == {
        "installed_version": "gun-shot 6",
        "latest_version": "gun-shot 6",
        "in_progress": False,
        "update_percentage": None,
        "release_summary": "",
    }
    offered = ModelName(name="gun-shot", version="7")
    trial = shown("model", offered=offered, state="trial", progress=0.35)
    assert (trial["latest_version"], trial["in_progress"], trial["update_percentage"]) == ("gun-shot 7", True, 35.0)
    assert shown("model", offered=offered, state="verifying")["update_percentage"] is None
    failed = shown("model", offered=offered, state="failed", error="was too loud", progress=None)
    assert (failed["in_progress"], failed["release_summary"]) == (False, "was too loud")


def test_the_program_has_an_update_entity_of_its_own_which_says_why_one_did_not_stay() -> None:
    assert shown("program", program="1.2.0") == {
        "installed_version": "1.2.0",
        "latest_version": "1.2.0",
        "in_progress": False,
        "release_summary": "",
    }
    trial = shown("program", program="1.3.0", program_offered="1.3.0", program_state="probation")
    assert trial["in_progress"]
    failed = shown("program", program="1.2.0", program_offered="1.3.0", program_state="failed", program_error="it died")
    assert (failed["latest_version"], failed["in_progress"], failed["release_summary"]) == ("1.3.0", False, "it died")
