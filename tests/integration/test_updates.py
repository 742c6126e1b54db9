"""An update over a real broker: the hint makes the device look, and the ``model`` topic tells all that follows."""

from datetime import UTC, datetime, timedelta

import pytest

from edge.delivery.messages import Command, ModelHint, Topics
from tests.edge.updates.conftest import repository, server, still_forest, unit
from tests.edge.updates.model.candidates import candidate
from tests.edge.updates.model.units import PATIENCE_S, Unit
from tests.integration.receiver import Receiver, wait_until
from tests.running import DEVICE, SITE
from tests.servers.mosquitto import Mosquitto

__all__ = ["repository", "server", "still_forest", "unit"]

pytestmark = [pytest.mark.server, pytest.mark.timeout(900)]


def test_a_hint_brings_the_update_and_the_model_topic_tells_of_it(unit: Unit, mosquitto: Mosquitto) -> None:
    unit.configure({"mqtt": {"port": mosquitto.port}})
    with Receiver(mosquitto.port, unit.folder / "received.sqlite3", site=SITE) as receiver:
        unit.start()
        wait_until(lambda: receiver.payloads("model"), "the first report", PATIENCE_S)
        unit.until(lambda s: s.checked_at is not None, "the first look, which brings nothing")
        two = unit.publish(candidate("2"), 2)
        hint = ModelHint(channel="stable", at=datetime.now(UTC))
        receiver.client.publish(Topics(SITE, DEVICE).hint("stable"), hint.to_json(), qos=1, retain=True)
        unit.confirmed(two)
        wait_until(lambda: receiver.payloads("model")[-1]["installed"]["version"] == "2", "the report", PATIENCE_S)
        wait_until(lambda: receiver.payloads("model")[-1]["state"] == "idle", "the last report", PATIENCE_S)
        told = list(dict.fromkeys(report["state"] for report in receiver.payloads("model")))
        assert [state for state in told if state in ("trial", "probation")] == ["trial", "probation"]
        asked = Command(id="u", command="update", expires=datetime.now(UTC) + timedelta(minutes=5))
        receiver.command(asked.model_dump_json().encode(), device=DEVICE, expiry_s=300)
        wait_until(lambda: [r for r in receiver.payloads("response") if r["id"] == "u" and r["ok"]], "yes", PATIENCE_S)
        assert unit.stop() == 0
