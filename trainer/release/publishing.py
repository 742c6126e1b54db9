"""A release from its file to the change that maintainers sign; or, signed before, straight to another channel."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from edge.updates.fetching.deltas import NOTHING
from edge.updates.release import FLOOR, MODELS_ROLE, Channel, Floor
from trainer.release import ReleaseError
from trainer.release.chain import CHANNELS, KINDS, Chain, Kind, stored
from trainer.release.change import Change, Intent
from trainer.release.contents import Content
from trainer.release.forgetting import forget
from trainer.release.placing import DEVICES, Online, put_file
from trainer.release.rotation import renewed
from trainer.release.stages import refuse_under_floor

if TYPE_CHECKING:
    from tuf.api.metadata import TargetFile

MakeDelta = Callable[[bytes, bytes], bytes | None]
"""From the old file and the new one; None where a delta does not pay for itself."""
DELTAS_FROM = 3
"""Models that devices may still have."""


@dataclass(frozen=True)
class Asked:
    """To whom a release shall go, and who asks."""

    channel: Channel
    fraction: float
    by: str
    at: datetime

    def intent(self, kind: Kind, target: str) -> Intent:
        return Intent(channel=self.channel, kind=kind, target=target, fraction=self.fraction)


def already_signed(chain: Chain, content: Content) -> bool:
    """Whether maintainers signed exactly this before.

    Raises:
        ReleaseError: they signed something else of that name and version.
    """
    signed = chain.models.signed.targets
    there = [path for path in content.files if path in signed and path in content.custom]
    if not there:
        return False
    for path in there:
        if signed[path].hashes != _target(path, content.files[path], {}).hashes:
            raise ReleaseError(
                f"{path} was signed before with other contents; a version is never used twice, give this one another"
            )
    missing = [path for path in content.custom if path not in signed]
    if missing:
        raise ReleaseError(f"{content.title} was signed before without {', '.join(missing)}; give it another version")
    return True


def refuse_repeat(chain: Chain, asked: Asked, kind: Kind, target: str) -> None:
    """Raises ReleaseError: the channel has it already, or devices would refuse it."""
    stage = getattr(chain.rollout_of(asked.channel), kind)
    if stage is not None and stage.wanted == target:
        raise ReleaseError(
            f"{target} is on {asked.channel} already, for {stage.fraction:.0%}; give it to more with "
            "`ecosight-trainer release widen`, or give the file another version"
        )
    release = chain.release(target)
    if release is not None:
        refuse_under_floor(chain, release)


def prepare(chain: Chain, content: Content, asked: Asked, online: Online, make_delta: MakeDelta | None) -> Change:
    """Put the files there, where nobody sees them yet, and make the change that names them. Raises ReleaseError."""
    metadata = renewed(chain, [MODELS_ROLE], online)
    targets = metadata[MODELS_ROLE].signed.targets
    files = dict(content.files)
    custom = {path: dict(one) for path, one in content.custom.items()}
    if content.kind == "model" and make_delta is not None:
        path = content.target
        deltas = _deltas(chain, files[path], make_delta)
        digest = _target(path, files[path], {}).hashes["sha256"]
        custom[path]["deltas"] = {
            old: {"schema_version": 1, "target": f"deltas/{old}.{digest}", "length": len(delta)}
            for old, delta in deltas.items()
        }
        files |= {f"deltas/{old}.{digest}": delta for old, delta in deltas.items()}
    for path, data in files.items():
        put_file(chain.place, path, data)
        targets[path] = _target(path, data, custom.get(path))
    given = {target for channel in CHANNELS for target in _given_out(chain, channel)}
    gone = forget(chain, metadata[MODELS_ROLE], {*given, content.target}, DEVICES.targets_bytes)
    what = f"publish {content.title} on {asked.channel} for {asked.fraction:.0%}"
    if gone:
        what += f", and sign no more the oldest {len(gone)}, up to {gone[-1].title}"
    return Change(what, asked.by, asked.at, metadata, (asked.intent(content.kind, content.target),))


def floor_raised(chain: Chain, floors: Mapping[Kind, int], by: str, at: datetime, online: Online) -> Change:
    """A higher floor.

    Raises:
        ReleaseError: it is no higher, above everything signed, or above what a channel gives to devices.
    """
    before = chain.floor()
    for kind, number in floors.items():
        if number <= getattr(before, kind):
            raise ReleaseError(
                f"the floor of {kind}s is {getattr(before, kind)}; it is only ever raised, since devices remember it"
            )
        if number not in {one.number for one in chain.releases(kind)}:
            raise ReleaseError(f"no {kind} has number {number}; a floor is the number of the oldest that may still run")
        for channel in CHANNELS:
            for target in _given_out(chain, channel, (kind,)):
                release = chain.release(target)
                if release is not None and release.number < number:
                    raise ReleaseError(
                        f"{channel} still gives {target} (number {release.number}) to devices, which would refuse it "
                        f"under a floor of {number}; widen what is newer to all of them first"
                    )
    after = before.model_copy(update={str(kind): number for kind, number in floors.items()})
    content = Floor.model_validate(after.model_dump()).model_dump_json().encode()
    metadata = renewed(chain, [MODELS_ROLE], online)
    put_file(chain.place, FLOOR, content)
    metadata[MODELS_ROLE].signed.targets[FLOOR] = _target(FLOOR, content, None)
    told = ", ".join(f"{kind} {number}" for kind, number in floors.items())
    return Change(f"raise the floor: {told}", by, at, metadata)


def _given_out(chain: Chain, channel: Channel, kinds: Iterable[Kind] = KINDS) -> list[str]:
    rollout = chain.rollout_of(channel)
    stages = [stage for kind in kinds if (stage := getattr(rollout, kind)) is not None]
    # What is wanted by all is given by nobody else.
    return [
        target
        for stage in stages
        for target in (stage.wanted, stage.otherwise if stage.fraction < 1 else None)
        if target is not None
    ]


def _deltas(chain: Chain, content: bytes, make_delta: MakeDelta) -> dict[str, bytes]:
    """By the digest of what they start from: nothing, what channels give out, then the newest."""
    given = {target for channel in CHANNELS for target in _given_out(chain, channel, ("model",))}
    newest = sorted(chain.releases("model"), key=lambda one: (one.target in given, one.number), reverse=True)
    found = {}
    if (whole := make_delta(b"", content)) is not None:
        found[NOTHING] = whole
    for release in newest[:DELTAS_FROM]:
        old = chain.place.get(stored(release.target, chain.models.signed.targets[release.target]))
        delta = make_delta(old, content) if old is not None and old != content else None
        if delta is not None:
            found[release.sha256] = delta
    return found


def _target(path: str, content: bytes, custom: dict[str, Any] | None) -> "TargetFile":
    from tuf.api.metadata import TargetFile

    target = TargetFile.from_data(path, content, ["sha256"])
    if custom:
        target.unrecognized_fields["custom"] = custom
    return target
