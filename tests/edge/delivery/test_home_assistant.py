"""What Home Assistant is told fits what is sent."""

import json

from edge.delivery.home_assistant import SENSORS, discovery
from edge.delivery.messages import Health
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
