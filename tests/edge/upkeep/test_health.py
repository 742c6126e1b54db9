"""The health message: assembled from the daemon's callables and a recorded board."""

import ast
import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.delivery.faults import NETWORK_TEXTS, NEXT_STEP, S3_CODES
from edge.delivery.messages import Health, ModelName, Moment
from edge.settings import EdgeSettings
from edge.upkeep.health import Reporter, Sources, board_problems, percentile, state_of
from tests.edge.upkeep.trees import PI_4, PI_5, UPS_HAT, write

EDGE = Path(__file__).resolve().parents[3] / "edge"
REFERENCE = EDGE.parent / "docs" / "reference" / "health.md"


def moment(synchronised: bool = True) -> Moment:
    return Moment(
        utc=datetime(2026, 5, 1, 12, tzinfo=UTC),
        clock_synchronised=synchronised,
        clock_epoch=1,
        boot_id="b",
        boot_s=100.0,
        sample=0,
    )


def reporter(tmp_path: Path, root: Path | None = None, **sources: Any) -> Reporter:
    configuration = EdgeSettings(
        site="ridge",
        device="cedar",
        state_dir=tmp_path,
        clips={"free_floor_bytes": 0},  # type: ignore[arg-type]
    )
    return Reporter(configuration, Sources(**({"now": moment} | sources)), root or tmp_path / "no-board")


def test_every_figure_of_the_daemon_stands_in_the_message(tmp_path: Path) -> None:
    health = reporter(
        tmp_path,
        write(tmp_path / "board", PI_5 | UPS_HAT),
        outbox_depth=lambda: 3,
        clips_bytes=lambda: 12_000,
        clips_waiting=lambda: 2,
        clips_evicted=lambda: 1,
        clip_messages_dropped=lambda: 7,
        bytes_sent_today=lambda: 4096,
        gaps=lambda: 6,
        overflows=lambda: 5,
        overruns=lambda: 8,
        newest_sample_age_s=lambda: 0.05,
        level_dbfs=lambda: -42.5,
        noise_floor_dbfs=lambda: -60.0,
        clock_drift_ppm=lambda: -12.5,
        inference_ms=lambda: [0.5] * 95 + [2.0] * 5,
        hop_s=lambda: 0.24,
        windows=lambda: 100,
        windows_gated=lambda: 9,
        alerts=lambda: 4,
        alerts_muted=lambda: 1,
        vetoed=lambda: 2,
        vetoes=lambda: 1,
        thresholds=lambda: {"gun_shot": 0.62},
        thresholds_raised=lambda: {"gun_shot": 0.5},
        commands_rejected=lambda: 7,
        model=lambda: ModelName(name="m", version="1", sha256="aa"),
    ).report()
    said = health.model_dump(exclude={"at", "uptime_s", "disk_free_bytes", "version", "cpu_percent"})
    assert said == {
        "schema_version": 1,
        "site": "ridge",
        "device": "cedar",
        "state": "degraded",
        "problems": ["board:battery_low"],
        "temperature_c": 48.25,
        "throttled": "0x0",
        "supply_v": 5.032,
        "battery_percent": 17.0,
        "memory_mib": None,
        "outbox_depth": 3,
        "clips_bytes": 12_000,
        "clips_waiting": 2,
        "clips_evicted": 1,
        "clip_messages_dropped": 7,
        "bytes_sent_today": 4096,
        "samples_lost": 0,
        "gaps": 6,
        "overflows": 5,
        "overruns": 8,
        "newest_sample_age_s": 0.05,
        "level_dbfs": -42.5,
        "noise_floor_dbfs": -60.0,
        "clock_drift_ppm": -12.5,
        "inference_p50_ms": 0.5,
        "inference_p95_ms": 0.5,
        "hop_s": 0.24,
        "windows": 100,
        "windows_skipped": 0,
        "windows_gated": 9,
        "alerts": 4,
        "alerts_muted": 1,
        "muted_until": None,
        "vetoed": 2,
        "newest_veto": None,
        "vetoes": 1,
        "thresholds": {"gun_shot": 0.62},
        "thresholds_raised": {"gun_shot": 0.5},
        "commands_rejected": 7,
        "model": {"name": "m", "version": "1", "sha256": "aa"},
    }
    assert health.disk_free_bytes


def test_sources_name_only_what_the_message_holds() -> None:
    names = set(Sources.__slots__) - {"now", "problems", "inference_ms"}
    assert names <= set(Health.model_fields)


def test_a_quiet_device_on_any_board_is_ok(tmp_path: Path) -> None:
    health = reporter(tmp_path).report()
    assert (health.state, health.problems) == ("ok", [])
    assert health.temperature_c is None
    assert b'"temperature_c":null' in health.to_json()


def test_no_audio_outranks_degraded(tmp_path: Path) -> None:
    health = reporter(tmp_path, problems=lambda: ["mqtt:refused:135", "no_audio:silent"]).report()
    assert health.state == "no_audio"
    assert health.problems == ["mqtt:refused:135", "no_audio:silent"]
    assert state_of(["mqtt:refused:135"]) == "degraded"
    assert state_of(["no_audio"]) == "no_audio"
    assert state_of([]) == "ok"


@pytest.mark.parametrize(
    ("count", "code"), [("samples_lost", "audio:samples_lost"), ("windows_skipped", "detection:windows_skipped")]
)
def test_a_loss_is_a_problem_only_while_more_is_being_lost(tmp_path: Path, count: str, code: str) -> None:
    lost = [0]
    device = reporter(tmp_path, **{count: lambda: lost[0]})
    assert device.report().problems == []
    lost[0] = 480
    assert device.report().problems == [code]
    calm = device.report()
    assert calm.problems == []
    assert getattr(calm, count) == 480


def test_looking_in_between_changes_nothing_that_the_next_message_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lost = [480]
    device = reporter(tmp_path, Path("/"), samples_lost=lambda: lost[0])
    assert "audio:samples_lost" in device.report().problems
    lost[0] = 960
    first = device.report()
    assert first.cpu_percent is not None
    lost[0] = 1440
    caplog.clear()
    for _ in range(3):
        seen = device.look()
        assert "audio:samples_lost" in seen.problems
        assert (seen.samples_lost, seen.cpu_percent) == (1440, first.cpu_percent)
    assert caplog.records == []
    assert device.newest == first
    assert "audio:samples_lost" in device.report().problems


def test_a_look_before_the_first_message_answers(tmp_path: Path) -> None:
    device = reporter(tmp_path, windows=lambda: 3)
    assert device.look().windows == 3
    assert device.newest is None


def test_a_part_that_fails_to_answer_is_named_and_the_rest_is_still_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> int:
        raise RuntimeError("database is locked")

    health = reporter(tmp_path, outbox_depth=broken, windows=lambda: 5).report()
    assert health.problems == ["health:unanswered:outbox_depth"]
    assert health.outbox_depth is None
    assert health.windows == 5
    assert "database is locked" in caplog.text


def test_a_figure_that_no_message_can_carry_is_left_out_and_named(tmp_path: Path) -> None:
    one = reporter(tmp_path, thresholds=lambda: {"gun_shot": math.nan}, gaps=lambda: "many", overruns=lambda: 3)
    health = one.report()
    assert health.problems == ["health:unanswered:gaps", "health:unanswered:thresholds"]
    assert (health.state, health.thresholds, health.gaps, health.overruns) == ("degraded", {}, 0, 3)


@pytest.mark.parametrize("level", [-math.inf, math.nan])
def test_perfect_silence_does_not_break_the_json(tmp_path: Path, level: float) -> None:
    health = reporter(tmp_path, level_dbfs=lambda: level).report()
    assert health.level_dbfs is None
    assert Health.model_validate_json(health.to_json()) == health


def test_slow_inference_an_unset_clock_and_a_full_disk_are_problems(tmp_path: Path) -> None:
    configuration = EdgeSettings(state_dir=tmp_path, clips={"free_floor_bytes": 10**18})  # type: ignore[arg-type]
    sources = Sources(now=lambda: moment(False), inference_ms=lambda: [200.0], hop_s=lambda: 0.24)
    health = Reporter(configuration, sources, tmp_path).report()
    assert health.problems == ["clock:not_synchronised", "detection:slow", "disk:low"]
    gone = EdgeSettings(state_dir=tmp_path / "absent")
    assert "disk:gone" in Reporter(gone, sources, tmp_path).report().problems


@pytest.mark.parametrize(
    ("throttled", "problems"),
    [
        (None, []),
        ("0x0", []),
        ("0x50005", ["board:under_voltage", "board:throttled"]),
        ("0x50000", ["board:under_voltage_earlier"]),
        ("0x80008", ["board:throttled"]),
        ("0xe0000", []),
    ],
)
def test_throttle_flags_become_codes(throttled: str | None, problems: list[str]) -> None:
    assert board_problems(throttled, 50.0, None) == problems


def test_a_hot_pi_says_so(tmp_path: Path) -> None:
    root = write(tmp_path, PI_4 | {"sys/class/thermal/thermal_zone0/temp": "80123\n"})
    assert "board:hot" in reporter(tmp_path, root).report().problems


def test_changes_are_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    problems = ["mqtt:down"]
    device = reporter(tmp_path, problems=lambda: list(problems))
    for _ in range(3):
        device.report()
    problems.clear()
    for _ in range(3):
        device.report()
    assert [record.message for record in caplog.records] == ["problem: mqtt:down", "no longer: mqtt:down"]


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1000), min_size=1, max_size=200), st.sampled_from([50, 95, 100]))
def test_a_percentile_is_a_value_that_was_seen_and_bounds_its_share(values: list[float], percent: int) -> None:
    found = percentile(values, percent)
    assert found in values
    assert found is not None
    assert sum(value <= found for value in values) >= percent / 100 * len(values)
    assert sum(value < found for value in values) < percent / 100 * len(values)


def explained() -> set[str]:
    """The codes in the first cells of the reference's tables."""
    cells = re.findall(r"^\| (`.*?) \|", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE)
    return {code for cell in cells for code in re.findall(r"`([a-z_]+:[a-zA-Z_:<>]+)`", cell)}


def words(node: ast.AST) -> set[str]:
    """The texts that stand in an expression."""
    return {part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)}


def calls(folder: str) -> Iterator[tuple[str, list[ast.expr]]]:
    """Every call in a package: the function's name and the arguments."""
    for file in sorted((EDGE / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield ast.unparse(node.func).rpartition(".")[2], node.args


def test_every_reason_for_no_sound_is_explained_in_the_reference() -> None:
    reasons = {"stale", "silent", "constant", "configuration"}
    for name, arguments in calls("audio"):
        if name in ("SourceLost", "_lose"):
            reasons |= words(arguments[0])
        elif name == "SourceError":
            reasons |= words(arguments[1]) if len(arguments) > 1 else set()
    reasons |= {"unplugged", "server_lost"}  # _why_ended
    reasons -= {"pulse"}  # what one of them depends on
    assert len(reasons) >= 18
    assert {code for code in explained() if code.startswith("no_audio:")} == {f"no_audio:{each}" for each in reasons}


def test_every_fault_of_the_storage_is_explained_in_the_reference() -> None:
    faults = {"over_budget"} | {code for code, scope in S3_CODES.values() if scope == "storage"}
    faults |= {code for _, code in NETWORK_TEXTS} | set(NEXT_STEP)
    for name, arguments in calls("delivery"):
        if name in ("Fault", "_fault") and not any("clip" in words(argument) for argument in arguments[1:]):
            faults |= words(arguments[0]) if arguments else set()
    assert len(faults) >= 20
    assert {code for code in explained() if code.startswith("storage:")} == {f"storage:{each}" for each in faults}


def test_every_code_in_the_program_is_explained_in_the_reference() -> None:
    exact = {code for code in explained() if "<" not in code}
    prefixes = tuple(code.partition("<")[0] for code in explained() if "<" in code)
    parts = "no_audio|audio|model|detection|mqtt|outbox|storage|clips|board|disk|clock|configuration|metrics|health"
    literal = re.compile(rf'"((?:{parts}):[a-z_]+(?::[a-z_]+)*:?|(?:{parts}):(?=\{{))')
    made = {code for file in EDGE.rglob("*.py") for code in literal.findall(file.read_text(encoding="utf-8"))}
    made -= {"no_audio:", "storage:"}  # completed by the reasons and faults of the two tests above
    assert len(made) >= 25
    assert not {code for code in made - exact if not code.startswith(prefixes)}
    assert {code for code in exact if code.startswith("board:")} == {code for code in made if code.startswith("board:")}
