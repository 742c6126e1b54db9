"""What a model says of what it learned from: counts, sources, licences, and whom to name."""

import re
from collections import Counter
from typing import Any

from trainer.data.clip import Clip
from trainer.data.labels import SHOT
from trainer.data.licences import OWN, LicenceError, licence_of
from trainer.learning.made import made_beside
from trainer.report.card import ATTRIBUTIONS
from trainer.retraining.material import Material
from trainer.retraining.request import Request

OURS = "Apache-2.0"
NOT_STATED = "not stated"
FORBIDS = "not for distribution"


def facts(material: Material, request: Request, windows: int) -> dict[str, Any]:
    """For ``manifest.training``: nothing in it depends on when or where it was learned."""
    clips = material.sources
    made = Counter(one.label == SHOT for one in made_beside(material.learned, request.of_shots))
    return {
        "seed": request.seed,
        "variants": request.variants,
        "recordings": len({clip.recording for clip in clips}),
        "made_shots": made[True],
        "made_others": made[False],
        "windows": windows,
        "recordings_by_label": dict(sorted(material.labels.items())),
        "clips_by_source": _counted(clip.source for clip in clips),
        "clips_by_licence": _counted(licence_in_words(clip) for clip in clips),
        "refused_by_licence": material.refused,
        "attributions": attributions(clips),
        "catalogue": material.catalogue,
    }


def licence_of_model(clips: tuple[Clip, ...]) -> str:
    """The model's own, if whatever it learned from permits that; else, in plain words, why it must stay at home."""
    forbidding: Counter[str] = Counter()
    for clip in clips:
        if not _permits(clip):
            forbidding[licence_in_words(clip)] += 1
    if not forbidding:
        return OURS
    told = [
        f"{_clips(count)} whose licence is not stated" if name == NOT_STATED else f"{_clips(count)} under {name}"
        for name, count in forbidding.most_common()
    ]
    return f"{FORBIDS}: learned from {', '.join(told)}"


def worse_licence(one: str, other: str) -> str:
    """Of a model that has both in it: the one that forbids. An empty one says nothing."""
    forbidding = [text for text in dict.fromkeys((one, other)) if text.startswith(FORBIDS)]
    if len(forbidding) == 2:
        return f"{forbidding[0]}; its network {forbidding[1].removeprefix(FORBIDS).lstrip(': ')}"
    return forbidding[0] if forbidding else one


def licence_in_words(clip: Clip) -> str:
    """The short name where the licence is understood, else how its own text begins."""
    try:
        return licence_of(clip)
    except LicenceError:
        listed = "per clip" in clip.licence or "per file" in clip.licence
        return NOT_STATED if listed else re.split(r" \(|[:;,]", clip.licence)[0].strip() or NOT_STATED


def attributions(clips: tuple[Clip, ...]) -> list[str]:
    """A line for each source that the card does not know by itself, and that is not one's own."""
    found: dict[str, Counter[str]] = {}
    for clip in clips:
        known = any(clip.source.startswith(start) for start in ATTRIBUTIONS)
        if not known and (name := licence_in_words(clip)) != OWN:
            found.setdefault(clip.source or "a source without a name", Counter())[name] += 1
    return [
        f"{source}: {', '.join(f'{_clips(count)} ({name})' for name, count in licences.most_common())}."
        for source, licences in sorted(found.items())
    ]


def _permits(clip: Clip) -> bool:
    try:
        licence_of(clip)
    except LicenceError:
        return False
    return True


def _clips(count: int) -> str:
    return f"{count} clip" if count == 1 else f"{count} clips"


def _counted(names: Any) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))
