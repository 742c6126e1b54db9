"""Who runs what, beside what was wanted of them: facts for a table or for a script."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from edge.delivery.messages import ModelName, ModelReport
from edge.updates.release import Stage, chosen
from trainer.failing import harmless
from trainer.release.broker import Device
from trainer.release.chain import CHANNELS, KINDS, OFFLINE, ONLINE, Chain, Kind, Release

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text


@dataclass(frozen=True)
class Share:
    """How far one release has come on one channel."""

    channel: str
    kind: Kind
    stage: Stage
    wanted: Release | None
    devices: int
    """That were heard on this channel."""
    meant: int
    """Of these, those that the draw puts in."""
    have: int
    """Of these, those that run it."""


def shares(chain: Chain, devices: Sequence[Device]) -> list[Share]:
    """One for each stage of each channel. Raises ReleaseError."""
    found = []
    for channel in CHANNELS:
        rollout = chain.rollout_of(channel)
        here = [one for one in devices if one.report.channel == channel]
        for kind in KINDS:
            stage: Stage | None = getattr(rollout, kind)
            if stage is None:
                continue
            release = chain.release(stage.wanted)
            going = stage.model_copy(update={"paused": False})
            meant = sum(chosen(going, one.site, one.device) == stage.wanted for one in here)
            have = sum(release is not None and _runs(one, release) for one in here)
            found.append(Share(channel, kind, stage, release, len(here), meant, have))
    return found


def _runs(device: Device, release: Release) -> bool:
    report = device.report
    if release.kind == "model":
        return report.installed.sha256 == release.sha256 or (
            not report.installed.sha256 and _title(report.installed) == release.title
        )
    return release.version == (report.program if release.kind == "program" else report.overlay)


def document(chain: Chain, devices: Sequence[Device], lacking: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Everything, for scripts. ``lacking``: by what waits, whose signatures it wants."""
    return {
        "repository": chain.place.name,
        "rollouts": [
            {
                "channel": one.channel,
                "kind": one.kind,
                **one.stage.model_dump(mode="json", exclude={"schema_version"}),
                "number": one.wanted.number if one.wanted else None,
                "devices": one.devices,
                "meant": one.meant,
                "have": one.have,
            }
            for one in shares(chain, devices)
        ],
        "floor": chain.floor().model_dump(mode="json", exclude={"schema_version"}),
        "expires": {role: chain.role(role).signed.expires.isoformat() for role in (*OFFLINE, *ONLINE)},
        "waiting": dict(lacking),
        "devices": [
            {
                "site": one.site,
                "device": one.device,
                "online": one.online,
                **one.report.model_dump(mode="json", exclude={"schema_version", "labels"}),
            }
            for one in devices
        ],
    }


def rollout_table(chain: Chain, devices: Sequence[Device]) -> "Table":
    """A line for each release on each channel."""
    table = _table("channel", "kind", "wanted", "number", "share", "otherwise", "have it")
    for one in shares(chain, devices):
        number = str(one.wanted.number) if one.wanted else "not signed"
        share = f"{one.stage.fraction:.0%}{' PAUSED' if one.stage.paused else ''}"
        have = f"{one.have} of {one.meant} meant, {one.devices} heard" if one.devices else "nobody heard"
        row = (one.channel, one.kind, one.stage.wanted, number, share, one.stage.otherwise or "–", have)
        table.add_row(*map(_cell, row))
    return table


def device_table(devices: Iterable[Device], now: datetime) -> "Table":
    """A line for each device."""
    table = _table("site", "device", "channel", "installed", "offered", "state", "error", "last look")
    for one in devices:
        report = one.report
        state = report.state if report.progress is None else f"{report.state} {report.progress:.0%}"
        state += ", offline" if one.online is False else ""
        state += ", pinned" if report.pinned else ""
        offered = _title(report.offered) if report.offered else "–"
        looked = _ago(now, report.checked_at)
        row = (one.site, one.device, report.channel, _title(report.installed), offered, state, _errors(report), looked)
        table.add_row(*map(_cell, row))
    return table


def _errors(report: ModelReport) -> str:
    """Of the model as it is, the others with what they are of."""
    others = {"program": report.program_error, "overlay": report.overlay_error}
    return "; ".join(filter(None, (report.error, *(f"{kind}: {why}" for kind, why in others.items() if why))))


def _table(*columns: str) -> "Table":
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(box=SIMPLE, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _cell(text: str) -> "Text":
    """Without markup and control codes: these are words of devices."""
    from rich.text import Text

    return Text(harmless(text))


def _title(model: ModelName) -> str:
    return f"{model.name} {model.version}"


def _ago(now: datetime, then: datetime | None) -> str:
    if then is None:
        return "never"
    minutes = max(0.0, (now - then).total_seconds() / 60)
    return f"{minutes:.0f} min ago" if minutes < 120 else f"{minutes / 60:.0f} h ago"
