"""Outcomes of many sounds, added up: recall by ratio and distance, false alarms, and what each recording gave."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from trainer.judging.hearing import Listened
from trainer.judging.matching import Matched
from trainer.judging.metrics import ByRecording, FalseAlarms, Recall, RecallAtDistance, RecallAtSnr, Recalls
from trainer.judging.sounds import Shot
from trainer.judging.statistics import share_by_recording, upper_rate

Pair = tuple[Listened, Matched]
SHIPPED = "shipped"


def recalls(pairs: Sequence[Pair]) -> Recalls:
    """Of all bursts, and by what is known of their first shots."""
    bursts = _bursts(pairs)
    snrs = sorted({shot.snr_db for shot, _ in bursts if shot.snr_db is not None}, reverse=True)
    distances = sorted({shot.distance_m for shot, _ in bursts if shot.distance_m is not None})
    return Recalls(
        all=_recall(bursts),
        by_snr=[
            RecallAtSnr(snr_db=snr, **_recall([one for one in bursts if one[0].snr_db == snr]).model_dump())
            for snr in snrs
        ],
        by_distance=[
            RecallAtDistance(
                distance_m=far, **_recall([one for one in bursts if one[0].distance_m == far]).model_dump()
            )
            for far in distances
        ],
    )


def false_alarms(pairs: Sequence[Pair]) -> FalseAlarms:
    """Events that match no shot, and their rate over all the time of these sounds."""
    events = sum(len(matched.false_alarms) for _, matched in pairs)
    hours = sum(one.seconds for one, _ in pairs) / 3600
    return FalseAlarms(
        events=events,
        hours=hours,
        per_hour=events / hours if hours else 0.0,
        upper_per_hour=upper_rate(events, hours) if hours else None,
    )


def false_alarms_by_label(pairs: Sequence[Pair]) -> dict[str, FalseAlarms]:
    """Of sounds without shots, the worst first."""
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        if not pair[0].sound.shots:
            groups[pair[0].sound.label or "unnamed"].append(pair)
    found = {label: false_alarms(group) for label, group in groups.items()}
    return dict(sorted(found.items(), key=lambda item: (-item[1].per_hour, item[0])))


def by_recording(
    listened: Sequence[Listened], rated: Sequence[bool], at: Mapping[str, Sequence[Matched]]
) -> list[ByRecording]:
    """``at``: the outcomes by the name of a rate, and `SHIPPED`, in the order of ``listened``."""
    hours: dict[str, float] = defaultdict(float)
    alarms: dict[str, int] = defaultdict(int)
    bursts: dict[str, int] = defaultdict(int)
    found: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(at, 0))
    for one, matched, counts in zip(listened, at[SHIPPED], rated, strict=True):
        hours[one.sound.recording] += one.seconds / 3600 if counts else 0.0
        alarms[one.sound.recording] += len(matched.false_alarms) if counts else 0
    for name, outcome in at.items():
        for shot, hit in _bursts(list(zip(listened, outcome, strict=True))):
            bursts[shot.recording] += name == SHIPPED
            found[shot.recording][name] += hit
    return [
        ByRecording(
            recording=recording,
            bursts=bursts[recording],
            found=found[recording],
            false_alarms=alarms[recording],
            hours=hours[recording],
        )
        for recording in sorted({*hours, *bursts})
    ]


def _bursts(pairs: Sequence[Pair]) -> list[tuple[Shot, bool]]:
    """The first shot of every burst, and whether the burst was found."""
    return [
        (one.sound.shot(first), hit)
        for one, matched in pairs
        for first, hit in zip(matched.first, matched.found, strict=True)
    ]


def _recall(bursts: Sequence[tuple[Shot, bool]]) -> Recall:
    found: dict[str, int] = defaultdict(int)
    total: dict[str, int] = defaultdict(int)
    for shot, hit in bursts:
        found[shot.recording] += hit
        total[shot.recording] += 1
    names = sorted(total)
    share = share_by_recording([found[name] for name in names], [total[name] for name in names])
    return Recall(value=share.value, low=share.low, high=share.high, bursts=sum(total.values()), recordings=len(names))
