"""What a model that ships may learn from.

A licence is allowed by name; whatever is not known to permit commercial use and changes is refused: NC, ND, SA,
Sampling+, and any that is not understood. ``own`` is a recording of one's own. Where a clip says "per clip" or "per
file", its licence is looked up in the list that it names.
"""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from trainer.data.clip import Clip

OWN = "own"
"""The licence of what the person who trains has recorded: by hand, or with a device of this project."""

_ALLOWED = {
    "CC0": r"CC0|creativecommons\.org/publicdomain/zero",
    "PD": r"Public Domain|PD",
    "CC BY": r"CC[ -]BY( [34]\.0)?|creativecommons\.org/licenses/by/[34]\.0",
    "MIT": r"MIT",
    "BSD-3-Clause": r"BSD-3-Clause",
    OWN: r"own",
}
_FORBIDDING = re.compile(r"NC\b|\bND\b|[- ]SA\b|Sampling|research only|never|noncommercial", re.IGNORECASE)


class LicenceError(ValueError):
    """A clip whose licence does not permit that a model made from it ships."""


def licence_of(clip: Clip) -> str:
    """The licence of this very clip, by its short name (``CC BY``).

    Raises:
        LicenceError: it does not permit shipping, or is not understood.
    """
    text = clip.licence
    if "per clip" in text or "per file" in text:
        listed = re.search(r"([A-Za-z0-9_.-]+)/([A-Z]+\.md)", text)
        folder = next((p for p in clip.path.parents if listed and p.name == listed[1]), None)
        if listed is None or folder is None:
            raise LicenceError(f"{clip.path.name}: the list that {text!r} names is not there")
        text = _listed(folder / listed[2]).get(_key(clip.path.stem), "")
    elif _FORBIDDING.search(text):
        raise LicenceError(f"{clip.path.name}: {text}")
    else:
        text = re.split(r" \(|,", text)[0]
    if text and not _FORBIDDING.search(text):
        for name, pattern in _ALLOWED.items():
            if re.fullmatch(pattern, text, re.IGNORECASE):
                return name
    raise LicenceError(f"{clip.path.name}: licence {text or 'not listed'!r} is not known to permit a model that ships")


def split_by_licence(clips: Iterable[Clip]) -> tuple[dict[str, list[Clip]], list[str]]:
    """Clips that a shipped model may learn from, by licence, and why each other one is refused."""
    allowed: dict[str, list[Clip]] = {}
    refused = []
    for clip in clips:
        try:
            allowed.setdefault(licence_of(clip), []).append(clip)
        except LicenceError as error:
            refused.append(str(error))
    return allowed, refused


@cache
def _listed(file: Path) -> dict[str, str]:
    """Licence by clip in a list of attributions: lines ``- **[name.ogg](…)**: … ([CC0](…))`` or rows of a table
    ``| [Name](…) | author | editor | CC0``. A list that is not there lists nothing."""
    found: dict[str, str] = {}
    if not file.is_file():
        return found
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("- **[") and (clip := re.match(r"- \*\*\[([^\]]+)\.ogg\]", line)):
            licence = re.findall(r"\(\[([^\]]+)\]\(", line)
            found[_key(clip[1])] = licence[-1] if licence else ""
        elif line.startswith("|") and (clip := re.match(r"\| \[([^\]]+)\]", line)):
            found[_key(clip[1])] = line.strip().strip("|").split("|")[3].strip()
    return found


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
