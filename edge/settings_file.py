"""Reads a tree of settings from YAML and the environment, and says in one message what is wrong with it.

    settings = read(EdgeSettings, Path("edge.yaml"), os.environ)

Every mistake names the file and line (or the environment variable), the key, the value and the nearest valid key.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from edge import plain_yaml
from edge.plain_yaml import Keys
from edge.redaction import without_passwords

ENVIRONMENT_PREFIX = "ECOSIGHT_"
# Variables with our prefix that are not settings: they steer tests and scripts.
NOT_SETTINGS = frozenset(
    {
        "ECOSIGHT_CONFIG",
        "ECOSIGHT_DATA",
        "ECOSIGHT_DIE_AT",
        "ECOSIGHT_RELEASE_PASSPHRASE",
        "ECOSIGHT_REQUIRE_ALL",
        "ECOSIGHT_VERIFY_S",
        "ECOSIGHT_YAMNET",
    }
)

PLAIN_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
MICROPHONE = r"^(default|usb:[0-9A-Fa-f]{4}:[0-9A-Fa-f]{4}(:.*)?|usb-port:[0-9.:-]+|card:.+)$"
WEB_ADDRESS = r"^https?://"
REPOSITORY = r"^(https?|s3|file)://"
TOPIC = r"^[^#+/]+(/[^#+/]+)*$"
_IN_WORDS = {
    PLAIN_NAME: "expected at most 63 letters, digits, '-', '_' or '.', the first a letter or a digit",
    MICROPHONE: "expected usb:VENDOR:PRODUCT:SERIAL, usb-port:PORT, card:NAME or default, as `ecosight-edge devices` "
    "prints it",
    WEB_ADDRESS: "expected an address that begins with http:// or https://",
    REPOSITORY: "expected an address that begins with https://, http://, s3:// or file://",
    TOPIC: "expected an MQTT topic without '#' and '+'",
}

_SECRET = re.compile(r"pass|secret|token|credential|key$", re.IGNORECASE)
_LONGEST_VALUE_SHOWN = 80


class SettingsError(ValueError):
    """The configuration cannot be used. The text is meant for the person who wrote it."""


class Section(BaseModel):
    """A branch of the tree: frozen, and strict about what YAML makes easy to mistype."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _plain_value(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, bool) and bool not in _types(cls.model_fields[info.field_name or ""].annotation):
            raise ValueError("Input should not be true or false")
        if isinstance(value, str) and "\0" in value:
            raise ValueError("Input should hold no zero byte")
        return value


Tree = TypeVar("Tree", bound=Section)


def inconsistent(key: str, message: str) -> PydanticCustomError:
    """For validators that compare fields: an error at ``key`` (in dots, below the validated section)."""
    return PydanticCustomError("inconsistent", "{message}", {"message": message, "key": key})


def read(tree_type: type[Tree], path: Path | None, environment: Mapping[str, str]) -> Tree:
    """The settings in ``path`` (defaults without one), with ``ECOSIGHT_…`` of ``environment`` laid over them.

    Raises:
        SettingsError: unreadable file, bad YAML, unknown key, wrong type, out of range.
    """
    origin: dict[Keys, str] = {}
    tree = _read_file(path, origin) if path is not None else {}
    for name, value in sorted(environment.items()):
        if name.startswith(ENVIRONMENT_PREFIX) and name not in NOT_SETTINGS:
            _lay_over(tree_type, tree, name, value, origin)
    _drop_empty_sections(tree_type, tree)
    try:
        return tree_type.model_validate(tree)
    except ValidationError as error:
        problems = [_explain(tree_type, problem, origin, path) for problem in error.errors()]
        raise SettingsError("\n".join(problems)) from error


def secret(name: str, file: Path | None, environment: Mapping[str, str]) -> str | None:
    """The secret in ``file``, else in the systemd credential ``name``, else None. A last line end is not part of it.

    Raises:
        SettingsError: the file cannot be read or is empty.
    """
    directory = environment.get("CREDENTIALS_DIRECTORY")
    try:
        if file is None and directory and (Path(directory) / name).is_file():
            file = Path(directory) / name
        if file is None:
            return None
        text = file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"secret {name}: cannot read {file or directory}: {reason}") from error
    if not text.strip():
        raise SettingsError(f"secret {name}: {file} is empty")
    return text


def _parsed(text: str, where: str, lines: dict[Keys, int]) -> Any:
    try:
        return plain_yaml.parse(text, where, lines)
    except plain_yaml.NotPlainError as error:
        raise SettingsError(str(error)) from error


def _read_file(path: Path, origin: dict[Keys, str]) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SettingsError(f"{path}: no such file; start from configs/edge.yaml") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or f"it is no text in UTF-8 ({error})"
        raise SettingsError(f"{path}: cannot be read: {reason}") from error
    lines: dict[Keys, int] = {}
    tree = _parsed(text, str(path), lines)
    origin |= {keys: f"{path}, line {line}" for keys, line in lines.items()}
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise SettingsError(f"{path}, line 1: expected keys and values, found {_shown(tree)}")
    return tree


def _lay_over(tree_type: type[Tree], tree: dict[str, Any], name: str, text: str, origin: dict[Keys, str]) -> None:
    where = f"environment variable {name}"
    keys = tuple(name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__"))
    value: Any = text
    # Text is taken as it stands: a user name or a site may look like a number. Nothing unsets what may be unset.
    kinds = _kinds(tree_type, keys)
    is_text = any(kind in (str, Path) or isinstance(kind, str) for kind in kinds)
    if not is_text or (text == "" and type(None) in kinds):
        value = _parsed(text, where, {})
    for key in keys[:-1]:
        if tree.get(key) is None:
            tree[key] = {}
        tree = tree[key]
        if not isinstance(tree, dict):
            raise SettingsError(f"{where}: {key} is a value, not a section")
    tree[keys[-1]] = value
    origin[keys] = where


def _kinds(tree_type: type[Section], keys: Keys) -> tuple[Any, ...]:
    field = dict(walk_fields(tree_type)).get(keys)
    return _types(field.annotation) if field is not None else ()


def _drop_empty_sections(section: type[BaseModel], tree: dict[str, Any]) -> None:
    """A section whose keys are all commented out reads as null: it means the defaults."""
    for name, field in section.model_fields.items():
        inner = section_of(field.annotation)
        if inner is None or name not in tree:
            continue
        if tree[name] is None:
            del tree[name]
        elif isinstance(tree[name], dict):
            _drop_empty_sections(inner, tree[name])


def _explain(tree_type: type[Section], problem: ErrorDetails, origin: Mapping[Keys, str], path: Path | None) -> str:
    keys = tuple(str(part) for part in problem["loc"])
    context = problem.get("ctx", {})
    if "key" in context:
        keys += tuple(context["key"].split("."))
    # The key itself, else the section around it, else what stands below it or (where it is missing) beside it.
    places = [origin[keys[:n]] for n in range(len(keys), 0, -1) if keys[:n] in origin]
    for shared in (keys, keys[:-1]):
        places += [place for known, place in origin.items() if shared and known[: len(shared)] == shared]
    where = places[0] if places else str(path or "defaults")
    name = ".".join(keys)
    message = problem["msg"].removeprefix("Value error, ")
    value = problem["input"]
    if problem["type"] == "extra_forbidden":
        near = nearest_key(tree_type, keys)
        if near and where.startswith("environment"):
            near = environment_name(near)
        hint = f"; did you mean {near}?" if near else ""
        return f"{where}: unknown key {name} (value {_shown(value, keys)}){hint}"
    if problem["type"] in ("inconsistent", "missing"):
        return f"{where}: {name}: {message}"
    if problem["type"] == "model_type":
        message = "a section with keys is expected here"
    message = _IN_WORDS.get(context.get("pattern", ""), message)
    if problem["type"] == "string_type" and isinstance(value, int | float):
        message += " (put it in quotes)"
    return f"{where}: {name} = {_shown(value, keys)}: {message}"


def _shown(value: object, keys: Keys = ()) -> str:
    """A value as a message may show it: short, and never a secret that stands where it should not."""
    if keys and _SECRET.search(keys[-1]) and isinstance(value, str):
        return "not shown"
    if isinstance(value, dict):
        return "a section"
    if isinstance(value, list):
        return "a list"
    text = repr(without_passwords(value) if isinstance(value, str) else value)
    return text if len(text) <= _LONGEST_VALUE_SHOWN else text[: _LONGEST_VALUE_SHOWN - 1] + "…"


def environment_name(key: str) -> str:
    """The environment variable of a key in dots: ``mqtt.host`` → ``ECOSIGHT_MQTT__HOST``."""
    return ENVIRONMENT_PREFIX + key.upper().replace(".", "__")


def nearest_key(tree_type: type[Section], keys: Keys) -> str | None:
    """The valid key, in dots, that looks most like ``keys``; None if nothing does."""
    valid = [".".join(path) for path, _ in walk_fields(tree_type)]
    same_section = [name for name in valid if name.rpartition(".")[0] == ".".join(keys[:-1])]
    same_leaf = [name for name in valid if name.rsplit(".", 1)[-1] == keys[-1]]
    for candidates, cutoff in ((same_section, 0.75), (same_leaf, 0.0), (valid, 0.8), (same_section, 0.6), (valid, 0.6)):
        close = difflib.get_close_matches(".".join(keys), candidates, n=1, cutoff=cutoff)
        if close:
            return close[0]
    return None


def walk_fields(section: type[BaseModel], keys: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    """Every field of the tree as ``(path, pydantic FieldInfo)``, sections included, in the order of the types."""
    for name, field in section.model_fields.items():
        path = (*keys, name)
        yield path, field
        inner = section_of(field.annotation)
        if inner is not None:
            yield from walk_fields(inner, path)


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The section that a field's annotation holds (``Location | None`` too), if it is one."""
    return next((kind for kind in _types(annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _types(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of an annotation: members of a union, the words of a Literal, else itself."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    if get_origin(annotation) is None:
        return (annotation,)
    return tuple(kind for argument in get_args(annotation) for kind in _types(argument))
