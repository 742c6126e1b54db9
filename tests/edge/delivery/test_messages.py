"""The contract on the wire. A failure here means that receivers in the field break: raise ``schema_version``."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from edge.delivery import messages, schemas
from edge.delivery.messages import PAYLOADS, Alert, Clip, Command, Moment, Topics
from tests.edge.delivery.examples import alert, moment

SCHEMAS = Path(__file__).resolve().parents[3] / "docs" / "reference" / "schemas"

FIELDS = {
    "alert": "schema_version alert_id seq phase test site device label score threshold onset duration_s shots"
    " level_dbfs model place clock_corrected collapsed reason muted",
    "availability": "schema_version state boot_id",
    "clip": "schema_version alert_id seq site device state key sha256 size_bytes duration_s sample_rate_hz onset_s"
    " reason test",
    "command": "schema_version id command expires arguments",
    "health": "schema_version site device at uptime_s state problems temperature_c throttled supply_v battery_percent"
    " cpu_percent memory_mib disk_free_bytes clips_bytes outbox_depth clips_waiting clips_evicted"
    " clip_messages_dropped bytes_sent_today samples_lost gaps overflows overruns newest_sample_age_s level_dbfs"
    " noise_floor_dbfs clock_drift_ppm"
    " inference_p50_ms inference_p95_ms hop_s windows windows_skipped windows_gated alerts alerts_muted muted_until"
    " vetoed newest_veto vetoes thresholds thresholds_raised commands_rejected model version",
    "hint": "schema_version channel at",
    "location": "schema_version place",
    "model": "schema_version installed labels state error offered progress pinned checked_at channel program"
    " program_offered program_state program_error overlay overlay_error muted_until",
    "receipt": "schema_version alert_id seq receiver",
    "response": "schema_version id command ok error result",
}
NESTED: dict[type[BaseModel], str] = {
    messages.Moment: "utc clock_synchronised clock_epoch boot_id boot_s sample",
    messages.ModelName: "name version sha256",
    messages.Place: "latitude_deg longitude_deg altitude_m description",
    messages.Collapsed: "count first last",
    messages.Veto: "at label score marked distance",
}


def test_topics_are_frozen() -> None:
    topics = Topics("forest", "oak")
    for leaf in set(FIELDS) - {"hint"}:
        assert getattr(topics, leaf) == f"ecosight/v1/forest/oak/{leaf}"
    assert topics.hint("stable") == "ecosight/v1/forest/models/stable"


@pytest.mark.parametrize("leaf", sorted(FIELDS))
def test_field_names_are_frozen(leaf: str) -> None:
    assert set(FIELDS[leaf].split()) <= set(PAYLOADS[leaf].model_fields), "a field was renamed or taken away"
    assert set(PAYLOADS[leaf].model_fields) == set(FIELDS[leaf].split()), "a new field: add it to this test"


def test_every_payload_is_in_the_contract() -> None:
    assert set(PAYLOADS) == set(FIELDS)


@pytest.mark.parametrize("kind", NESTED, ids=lambda kind: kind.__name__)
def test_nested_field_names_are_frozen(kind: type[BaseModel]) -> None:
    assert " ".join(kind.model_fields) == NESTED[kind]


def test_the_committed_schemas_are_those_of_the_payloads() -> None:
    committed = {file.name: file.read_text(encoding="utf-8") for file in SCHEMAS.glob("*.json")}
    assert committed == schemas.schemas(), "run: python -m edge.delivery.schemas docs/reference/schemas"


@given(
    score=st.floats(allow_nan=False, allow_infinity=False),
    shots=st.integers(0, 10**6),
    reason=st.text(max_size=50),
    utc=st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
    boot_s=st.floats(0, 1e9),
)
def test_an_alert_survives_the_wire(score: float, shots: int, reason: str, utc: datetime, boot_s: float) -> None:
    sent = alert(score=score, shots=shots, reason=reason, onset=moment(utc=utc, boot_s=boot_s))
    assert Alert.model_validate_json(sent.to_json()) == sent
    assert json.loads(sent.to_json())["schema_version"] == 1


def test_a_moment_on_the_wire_is_utc_with_its_offset() -> None:
    assert json.loads(alert().to_json())["onset"]["utc"] == "2026-05-01T12:00:00Z"


def test_a_moment_without_an_offset_is_refused() -> None:
    with pytest.raises(ValidationError):
        Moment.model_validate({**moment().model_dump(), "utc": "2026-05-01T12:00:00"})


def test_a_receiver_of_today_reads_a_message_of_tomorrow() -> None:
    body = json.loads(alert().to_json()) | {"added_next_year": 1}
    assert Alert.model_validate(body) == alert()


def test_no_number_that_json_does_not_know_is_sent() -> None:
    with pytest.raises(ValidationError):
        alert(score=float("nan"))


def test_a_command_with_a_typo_is_refused() -> None:
    body = {"id": "c1", "command": "drill", "expires": "2026-05-01T12:00:00Z", "argument": {}}
    with pytest.raises(ValidationError):
        Command.model_validate(body)


@pytest.mark.parametrize("alert_id", ["", "a/b", "../a", "#", "a" * 65, "a b"])
def test_an_id_is_safe_in_topics_keys_and_file_names(alert_id: str) -> None:
    with pytest.raises(ValidationError):
        Clip(alert_id=alert_id, seq=0, site="s", device="d", state="kept", key="k")
