"""Settings: every mistake is one message with file, line, key, value and the nearest key, and never a traceback."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from annotated_types import Ge, Gt, Le, Lt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.settings import EdgeSettings, SettingsError, load, secret
from edge.settings_file import environment_name, section_of, walk_fields

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLE = REPOSITORY / "configs" / "edge.yaml"

FIELDS = list(walk_fields(EdgeSettings))
LEAVES = [(keys, field) for keys, field in FIELDS if section_of(field.annotation) is None]
SECTIONS = [(), *(keys for keys, field in FIELDS if section_of(field.annotation) is not None)]
VALID = {".".join(keys) for keys, _ in FIELDS}

reusing_tmp_path = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)

names = st.from_regex(r"[a-z][a-z_]{0,14}[a-z]", fullmatch=True)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(scalars, inner, max_size=3), max_leaves=8
)


whole_numbers = st.integers(1 - 10**31, 10**31 - 1)  # longer ones are read as floats


def nested(keys: tuple[str, ...], value: Any) -> Any:
    for key in reversed(keys):
        value = {key: value}
    return value


def written(tmp_path: Path, tree: Any) -> Path:
    path = tmp_path / "edge.yaml"
    path.write_text(tree if isinstance(tree, str) else yaml.safe_dump(tree), encoding="utf-8")
    return path


def refusal(path: Path | None, environment: dict[str, str] | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        load(path, environment or {})
    return str(caught.value)


# --- mistakes in the file -----------------------------------------------------------------------


@reusing_tmp_path
@given(section=st.sampled_from(SECTIONS), name=names, value=whole_numbers, blank_lines=st.integers(0, 5))
def test_an_unknown_key_anywhere_is_named_with_its_file_line_and_value(
    tmp_path: Path, section: tuple[str, ...], name: str, value: int, blank_lines: int
) -> None:
    key = ".".join((*section, name))
    if key in VALID:
        return
    path = written(tmp_path, "\n" * blank_lines + yaml.safe_dump(nested((*section, name), value)))
    message = refusal(path)
    assert f"{path}, line {blank_lines + len(section) + 1}: unknown key {key} (value " in message
    assert str(value) in message or "not shown" in message


@reusing_tmp_path
@given(chosen=st.sampled_from(LEAVES), where=st.integers(0, 30), letter=st.sampled_from("aeiouxz"), drop=st.booleans())
def test_a_mistyped_key_gets_a_hint_from_its_own_section(
    tmp_path: Path, chosen: Any, where: int, letter: str, drop: bool
) -> None:
    (*section, leaf), _ = chosen
    if len(leaf) < 5:
        return
    at = where % len(leaf)
    typo = leaf[:at] + ("" if drop else letter) + leaf[at + drop :]
    key = ".".join((*section, typo))
    if key in VALID:
        return
    message = refusal(written(tmp_path, nested((*section, typo), 1)))
    hint = re.search(r"unknown key .*did you mean ([a-z0-9_.]+)\?", message)
    assert hint, message
    assert hint[1] in VALID
    assert hint[1].rpartition(".")[0] == ".".join(section)


@pytest.mark.parametrize(("keys", "field"), LEAVES, ids=[".".join(keys) for keys, _ in LEAVES])
@pytest.mark.parametrize("value", [[1], {"a": 1}], ids=["list", "mapping"])
def test_a_value_of_the_wrong_type_is_refused_at_its_line(
    tmp_path: Path, keys: tuple[str, ...], field: Any, value: Any
) -> None:
    path = written(tmp_path, nested(keys, value))
    assert f"{path}, line {len(keys)}: {'.'.join(keys)} = " in refusal(path)


NUMBERS = [(keys, bound) for keys, field in LEAVES for bound in field.metadata if isinstance(bound, Ge | Gt | Le | Lt)]


@pytest.mark.parametrize(("keys", "bound"), NUMBERS, ids=[f"{'.'.join(keys)} {bound}" for keys, bound in NUMBERS])
def test_a_number_out_of_range_is_refused_with_the_bound(tmp_path: Path, keys: tuple[str, ...], bound: Any) -> None:
    if isinstance(bound, Ge | Gt):
        limit = bound.ge if isinstance(bound, Ge) else bound.gt
        value = limit - 1
    else:
        limit = bound.le if isinstance(bound, Le) else bound.lt
        value = limit + 1
    path = written(tmp_path, nested(keys, value))
    message = refusal(path)
    assert f"{path}, line {len(keys)}: {'.'.join(keys)} = {value!r}: " in message
    assert str(limit) in message
    assert f"{path}, line" in refusal(written(tmp_path, nested(keys, ".nan")))


@pytest.mark.parametrize(("keys", "bound"), NUMBERS, ids=[f"{'.'.join(keys)} {bound}" for keys, bound in NUMBERS])
def test_true_is_not_a_number(tmp_path: Path, keys: tuple[str, ...], bound: Any) -> None:
    assert "should not be true or false" in refusal(written(tmp_path, nested(keys, True)))


@reusing_tmp_path
@given(tree=st.dictionaries(st.sampled_from([keys[0] for keys in SECTIONS if keys]) | scalars, anything, max_size=4))
def test_no_tree_ever_ends_in_a_traceback(tmp_path: Path, tree: Any) -> None:
    try:
        load(written(tmp_path, yaml.safe_dump(tree, allow_unicode=True)), {})
    except SettingsError as error:
        assert "edge.yaml" in str(error)


@reusing_tmp_path
@given(
    content=st.binary(max_size=60) | st.text(alphabet="ab:-&*!|>'\"[]{}#%@`\n \t0.,?~<=", max_size=40).map(str.encode)
)
def test_no_file_ever_ends_in_a_traceback(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "edge.yaml"
    path.write_bytes(content)
    try:
        load(path, {})
    except SettingsError as error:
        assert "edge.yaml" in str(error)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mqtt:\n  host: a\n  port: 1\n  host: b\n", "line 4: mqtt.host is given twice; the first is on line 2"),
        ("site: a\nsite: b\n", "line 2: site is given twice; the first is on line 1"),
        ("a: &a [*a]\n", "line 1: anchors"),
        ("site: !!python/object/apply:os.system [ls]\n", "line 1: anchors (&), aliases (*) and tags (!)"),
        ("{" * 5000, "line 1: nested too deeply"),
        ("[\n" * 5000 + "]" * 5000, "line 21: nested too deeply"),
        ("mqtt:\n\thost: a\n", "line 2: not YAML"),
        ("- a\n- b\n", "line 1: expected keys and values"),
        ("just words", "expected keys and values, found 'just words'"),
        ("site: a\n---\nsite: b\n", "not YAML"),
        ("? [a, b]\n: 1\n", "line 1: a key must be a name"),
        ("5: 1\n", "line 1: unknown key 5"),
        ("audio: 5\n", "line 1: audio = 5: a section with keys is expected here"),
        ("audio:\n  source: file\n", "line 1: audio.location: source is 'file', so location must name the file"),
        ("audio:\n  ring_s: 12\n", "line 2: audio.ring_s: 12.0 is too short for"),
        ("recording:\n  remote: true\n  max_s: 41\n", "line 3: recording.max_s: 41.0 is longer than audio.ring_s - 5"),
        ("device: models\n", "line 1: device: 'models' is a reserved name"),
        ("detection:\n  hop_s: 0.235\n", "line 2: detection.hop_s: 0.235 is not a multiple of 0.01"),
        ("storage:\n  kind: s3\n", "line 1: storage.s3.bucket: kind is 's3', so this must name the bucket"),
        ("mqtt:\n  ca_file: ca.pem\n", "line 2: mqtt.ca_file: is set, but tls is false"),
        ("site: 12\n", "line 1: site = 12: Input should be a valid string (put it in quotes)"),
        ("site: a/b\n", "line 1: site = 'a/b'"),
        ("site: 'a+'\n", "line 1: site = 'a+'"),
        ('site: "a\\n"\n', "line 1: site = 'a\\n'"),
        ('state_dir: "a\\0b"\n', "line 1: state_dir = 'a\\x00b': Input should hold no zero byte"),
        ("place:\n  latitude_deg: 1\n", "line 1: place.longitude_deg: Field required"),
        ("mqtt:\n  port: 99999999999999999999999999999999999999\n", "line 2: mqtt.port"),
        ("audio:\n  channel: 1e999\n", "line 2: audio.channel"),
    ],
)
def test_the_message_says_what_and_where(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in refusal(written(tmp_path, text))


def test_several_mistakes_are_all_told_one_a_line(tmp_path: Path) -> None:
    lines = refusal(written(tmp_path, "sight: a\nmqtt:\n  prot: 1\n  port: 0\n")).splitlines()
    assert len(lines) == 3
    assert any("did you mean site?" in line for line in lines)
    assert any("did you mean mqtt.port?" in line for line in lines)


def test_a_secret_in_the_wrong_place_is_not_repeated_in_the_message(tmp_path: Path) -> None:
    message = refusal(written(tmp_path, "mqtt:\n  password: hunter2\n"))
    assert "hunter2" not in message
    assert "did you mean mqtt.password_file?" in message


def test_a_missing_file_names_the_example(tmp_path: Path) -> None:
    assert "no such file; start from configs/edge.yaml" in refusal(tmp_path / "nowhere.yaml")


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path)


# --- what is accepted ---------------------------------------------------------------------------


def test_words_that_old_yaml_takes_for_something_else_are_words(tmp_path: Path) -> None:
    loaded = load(written(tmp_path, "site: no\ndevice: 2024-01-01\nmqtt:\n  username: 12:30\n  tls: yes\n"), {})
    assert (loaded.site, loaded.device, loaded.mqtt.username, loaded.mqtt.tls) == ("no", "2024-01-01", "12:30", True)


def test_an_empty_file_and_empty_sections_mean_the_defaults(tmp_path: Path) -> None:
    assert load(written(tmp_path, ""), {}) == EdgeSettings()
    assert load(written(tmp_path, "mqtt:\n  # host: a\nstorage:\n  s3:\nplace:\n"), {}) == EdgeSettings()


def test_the_example_is_valid_and_holds_every_key_at_its_default() -> None:
    assert load(EXAMPLE, {}) == EdgeSettings()
    text = EXAMPLE.read_text(encoding="utf-8")
    mentioned = {match[1] for match in re.finditer(r"^\s*(?:# )?\s*([a-z0-9_]+):", text, re.MULTILINE)}
    assert {keys[-1] for keys, _ in FIELDS} <= mentioned
    tree = yaml.safe_load(text)
    for keys, _ in LEAVES:
        if keys[0] == "place":
            continue
        branch = tree
        for key in keys[:-1]:
            branch = branch[key]
        assert keys[-1] in branch, f"{'.'.join(keys)} is not in the example"


def test_the_reference_and_the_example_are_what_the_types_say() -> None:
    done = subprocess.run(
        [sys.executable, REPOSITORY / "script" / "reference", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_shown_can_be_read_again(tmp_path: Path) -> None:
    shown = load(
        written(tmp_path, "site: 'no'\nplace: {latitude_deg: 1, longitude_deg: 2}\nmqtt: {username: '007'}\n"), {}
    )
    assert load(written(tmp_path, yaml.safe_dump(shown.model_dump(mode="json"))), {}) == shown


# --- the environment ----------------------------------------------------------------------------


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "site: a\nmqtt:\n  host: b\n  port: 1\n")
    loaded = load(
        path, {"ECOSIGHT_MQTT__PORT": "2", "ECOSIGHT_DETECTION__ENERGY_GATE__ENABLED": "true", "PATH": "/bin"}
    )
    assert (loaded.site, loaded.mqtt.host, loaded.mqtt.port) == ("a", "b", 2)
    assert loaded.detection.energy_gate.enabled


def test_every_default_can_be_said_in_the_environment() -> None:
    said = {
        environment_name(".".join(keys)): str(field.default)
        for keys, field in LEAVES
        if field.default is not None and not field.is_required()
    }
    said |= {"ECOSIGHT_PLACE__LATITUDE_DEG": "46.5", "ECOSIGHT_PLACE__LONGITUDE_DEG": "-7"}
    loaded = load(None, said)
    assert loaded.place is not None
    assert (loaded.place.latitude_deg, loaded.place.longitude_deg) == (46.5, -7.0)
    assert loaded.model_copy(update={"place": None}) == EdgeSettings()


def test_text_from_the_environment_is_taken_as_it_stands() -> None:
    loaded = load(None, {"ECOSIGHT_SITE": "007", "ECOSIGHT_MQTT__USERNAME": "a: b", "ECOSIGHT_STATE_DIR": "/x/#1"})
    assert (loaded.site, loaded.mqtt.username, loaded.state_dir) == ("007", "a: b", Path("/x/#1"))


def test_an_empty_variable_unsets_what_may_be_unset(tmp_path: Path) -> None:
    path = written(tmp_path, "mqtt:\n  username: ranger\n")
    assert load(path, {"ECOSIGHT_MQTT__USERNAME": ""}).mqtt.username is None


def test_the_environment_fills_a_section_that_the_file_leaves_empty(tmp_path: Path) -> None:
    assert load(written(tmp_path, "mqtt:\n"), {"ECOSIGHT_MQTT__HOST": "b"}).mqtt.host == "b"


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("ECOSIGHT_MQTT__HOTS", "a", "unknown key mqtt.hots (value 'a'); did you mean ECOSIGHT_MQTT__HOST?"),
        ("ECOSIGHT_MQTT_HOST", "a", "unknown key mqtt_host (value 'a'); did you mean ECOSIGHT_MQTT__HOST?"),
        ("ECOSIGHT_MQTT__PORT", "many", "mqtt.port = 'many'"),
        ("ECOSIGHT_MQTT__PORT", "[", "not YAML"),
        ("ECOSIGHT_SITE__NAME", "a", "site = a section: Input should be a valid string"),
        ("ECOSIGHT_", "1", "unknown key"),
        ("ECOSIGHT_MQTT__PASSWORD", "hunter2", "ECOSIGHT_MQTT__PASSWORD_FILE"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(variable: str, value: str, expected: str) -> None:
    message = refusal(None, {variable: value})
    assert f"environment variable {variable}" in message
    assert expected in message
    assert "hunter2" not in message


@settings(max_examples=100)
@given(
    name=st.text(alphabet="ABMQT_SITE.x1é", max_size=12) | st.sampled_from([environment_name(k) for k in VALID]),
    value=st.text(max_size=12),
)
def test_no_environment_ever_ends_in_a_traceback(name: str, value: str) -> None:
    variable = name if name.startswith("ECOSIGHT_") else f"ECOSIGHT_{name}"
    try:
        load(None, {variable: value})
    except SettingsError as error:
        assert variable in str(error)


def test_variables_that_steer_tests_are_not_settings() -> None:
    assert load(None, {"ECOSIGHT_REQUIRE_ALL": "1", "ECOSIGHT_DATA": "/x"}) == EdgeSettings()


# --- secrets ------------------------------------------------------------------------------------


def test_a_secret_is_read_from_its_file_without_the_line_end(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(" hunter2 \n")
    assert secret("mqtt_password", file, {}) == " hunter2 "


def test_a_systemd_credential_is_the_secret_where_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "mqtt_password").write_text("from systemd\n")
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert secret("mqtt_password", None, environment) == "from systemd"
    assert secret("s3_secret_key", None, environment) is None
    file = tmp_path / "other"
    file.write_text("from the file")
    assert secret("mqtt_password", file, environment) == "from the file"


@pytest.mark.parametrize("content", [b"", b"\n", b"  \n", b"\xff\xfe"], ids=["empty", "line", "spaces", "not-text"])
def test_an_unusable_secret_file_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "password"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"secret mqtt_password: .*password"):
        secret("mqtt_password", file, {})


def test_a_secret_file_that_is_not_there_is_an_error_and_not_no_secret(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot read"):
        secret("mqtt_password", tmp_path / "nowhere", {})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("site: cedar ridge", "letters, digits"),
        ("audio: {device: '2'}", "`ecosight-edge devices` prints it"),
        ("storage: {s3: {endpoint_url: 'minio:9000'}}", "http://"),
        ("mqtt: {home_assistant_prefix: 'a/#'}", "MQTT topic"),
    ],
)
def test_a_value_of_the_wrong_form_is_told_the_form_in_words(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "edge.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError) as refusal:
        load(file, {})
    assert says in str(refusal.value) and "pattern" not in str(refusal.value)
