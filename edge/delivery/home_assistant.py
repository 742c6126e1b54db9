"""Home Assistant discovery: one retained message makes the device appear there with its alert and its health.

Device discovery as in https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload (2024.12 and up).
"""

import json
import re
from typing import Any

from edge import __version__
from edge.delivery.messages import Topics
from edge.settings import EdgeSettings

# Health field: name, device class, unit.
SENSORS = {
    "temperature_c": ("Temperature", "temperature", "°C"),
    "level_dbfs": ("Sound level", None, "dB"),
    "memory_mib": ("Memory", "data_size", "MiB"),
    "disk_free_bytes": ("Free disk", "data_size", "B"),
    "battery_percent": ("Battery", "battery", "%"),
    "supply_v": ("Supply", "voltage", "V"),
    "outbox_depth": ("Messages waiting", None, None),
    "clips_waiting": ("Clips waiting", None, None),
}

# The update entities read JSON (https://www.home-assistant.io/integrations/update.mqtt/). Without a command topic they
# have no button: Home Assistant can only send a fixed text, and a command of ours has an id and an expiry.
_UPDATE = (
    "{% set offered = value_json.offered or value_json.installed %}"
    "{{ {'installed_version': value_json.installed.name ~ ' ' ~ value_json.installed.version,"
    " 'latest_version': offered.name ~ ' ' ~ offered.version,"
    " 'in_progress': value_json.state not in ('idle', 'failed'),"
    " 'update_percentage': (value_json.progress * 100) | round if value_json.progress is not none"
    " and value_json.state not in ('idle', 'failed') else none,"
    " 'release_summary': value_json.error[:255]} | to_json }}"
)

_PROGRAM = (
    "{% set busy = value_json.program_state in ('installing', 'probation') %}"
    "{{ {'installed_version': value_json.program,"
    " 'latest_version': value_json.program_offered or value_json.program,"
    " 'in_progress': busy,"
    " 'release_summary': value_json.program_error[:255]} | to_json }}"
)


def discovery(settings: EdgeSettings) -> tuple[str, bytes]:
    """Topic and payload, to be published retained with QoS 1."""
    topics = Topics(settings.site, settings.device)
    # Home Assistant allows only these characters in an object id.
    node = re.sub(r"[^A-Za-z0-9_-]", "_", f"ecosight_{settings.site}_{settings.device}")

    def component(platform: str, key: str, name: str, topic: str, template: str, **more: Any) -> dict[str, Any]:
        return {
            "platform": platform,
            "unique_id": f"{node}_{key}",
            "name": name,
            "state_topic": topic,
            "value_template": template,
            **{field: value for field, value in more.items() if value is not None},
        }

    components = {
        "alert": component(
            "binary_sensor",
            "alert",
            "Gunshot",
            topics.alert,
            # A drill is not an alert. An event whose end is lost must not stay on for ever.
            "{{ 'ON' if value_json.phase in ('new', 'update') and not value_json.test else 'OFF' }}",
            json_attributes_topic=topics.alert,
            off_delay=120,
        ),
        "state": component("sensor", "state", "State", topics.health, "{{ value_json.state }}"),
        "problems": component(
            "sensor", "problems", "Problems", topics.health, "{{ value_json.problems | join(', ') | truncate(250) }}"
        ),
    }
    components["model"] = component("update", "model", "Model", topics.model, _UPDATE, title="EcoSight model")
    components["program"] = component("update", "program", "Program", topics.model, _PROGRAM, title="EcoSight program")
    for field, (name, device_class, unit) in SENSORS.items():
        components[field] = component(
            "sensor",
            field,
            name,
            topics.health,
            f"{{{{ value_json.{field} }}}}",
            device_class=device_class,
            unit_of_measurement=unit,
        )
    payload = {
        "device": {
            "identifiers": [node],
            "name": f"EcoSight {settings.device}",
            "manufacturer": "EcoSight",
            "model": "Gunshot detector",
            "sw_version": __version__,
            "suggested_area": settings.site,
        },
        "origin": {"name": "EcoSight", "sw_version": __version__},
        "availability": [{"topic": topics.availability, "value_template": "{{ value_json.state }}"}],
        "components": components,
        "qos": 1,
    }
    topic = f"{settings.mqtt.home_assistant_prefix}/device/{node}/config"
    return topic, json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
