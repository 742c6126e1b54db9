"""The plain part of YAML: keys, values, lists.

Scalars follow the core schema of YAML 1.2, so that ``site: no`` is a name and not a falsehood; anchors, aliases, tags
and repeated keys are refused.
"""

import re
from typing import Any

import yaml

Keys = tuple[str, ...]
_DEEPEST = 20


class NotPlainError(ValueError):
    """The text cannot be read. The message is meant for the person who wrote it."""


class _PlainLoader(yaml.SafeLoader):
    """Scalars as the core schema of YAML 1.2 resolves them (section 10.3 of its specification), decimal only."""


_PlainLoader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]{0,30})", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    _PlainLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


def parse(text: str, where: str, lines: dict[Keys, int]) -> Any:
    """The value that ``text`` holds; ``lines`` gets the line of every key.

    Raises:
        NotPlainError: it is no YAML, or more than its plain part; the text begins with ``where`` and the line.
    """
    try:
        _refuse_what_is_not_plain(text, where)
        loader = _PlainLoader(text)
        node = loader.get_single_node()
        return _build(loader, node, (), where, lines) if node is not None else None
    except yaml.YAMLError as error:
        raise NotPlainError(f"{where}{explain(error)}") from error


def explain(error: yaml.YAMLError) -> str:
    """Where and why it is no YAML, to stand behind a file's name: ``, line 2: not YAML: …``."""
    mark = getattr(error, "problem_mark", None)
    line = f", line {mark.line + 1}" if mark else ""
    reason = getattr(error, "problem", None) or getattr(error, "reason", None) or error
    return f"{line}: not YAML: {reason}"


def _refuse_what_is_not_plain(text: str, where: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_PlainLoader):
        problem = ""
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) or getattr(event, "tag", None):
            problem = "anchors (&), aliases (*) and tags (!) are not used here; quote the value"
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            problem = "nested too deeply"
        if problem:
            line = event.start_mark.line + 1  # type: ignore[union-attr]  # the parser marks every event
            raise NotPlainError(f"{where}, line {line}: {problem}")


def _build(loader: _PlainLoader, node: yaml.Node, keys: Keys, where: str, lines: dict[Keys, int]) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return [_build(loader, item, (*keys, str(place)), where, lines) for place, item in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return loader.construct_object(node)
    tree: dict[str, Any] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise NotPlainError(f"{where}, line {line}: a key must be a name")
        inner = (*keys, key.value)
        if inner in lines:
            raise NotPlainError(
                f"{where}, line {line}: {'.'.join(inner)} is given twice; the first is on line {lines[inner]}"
            )
        lines[inner] = line
        tree[key.value] = _build(loader, value, inner, where, lines)
    return tree
