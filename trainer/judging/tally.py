"""Outcomes of many sounds, added up: recall by ratio and distance, false alarms, and what each recording gave."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from trainer.judging.hearing import Listened
from trainer.judging.matching import Matched
from trainer.judging.metrics import ByRecording, FalseAlarms, Recall, RecallAtDistance, RecallAtSnr, Recalls
from trainer.judging.statistics import share_by_recording, upper_rate

Pair = tuple[Listened, Matched]
SHIPPED = "shipped"


def recalls(pairs: Sequence[Pair]) -> Recalls:
    """Of all bursts, and by what is known of their sounds."""
    snrs = sorted({one.sound.snr_db for one, _ in pairs if one.sound.snr_db is not None}, reverse=True)
    distances = sorted({one.sound.distance_m for one, _ in pairs if one.sound.distance_m is not None})
    by_snr = [
        RecallAtSnr(snr_db=snr, **_recall([pair for pair in pairs if pair[0].sound.snr_db == snr]).model_dump())
        for snr in snrs
    ]
    by_distance = [
        RecallAtDistance(distance_m=far, **_recall([p for p in pairs if p[0].sound.distance_m == far]).model_dump())
        for far in distances
    ]
    return Recalls(
        all=_recall(pairs),
        by_snr=[one for one in by_snr if one.bursts],
        by_distance=[one for one in by_distance if one.bursts],
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
    rows: dict[str, list[int]] = defaultdict(list)
    for number, one in enumerate(listened):
        rows[one.sound.recording].append(number)
    return [
        ByRecording(
            recording=recording,
            bursts=sum(len(at[SHIPPED][number].bursts) for number in numbers),
            found={name: sum(sum(matched[number].found) for number in numbers) for name, matched in at.items()},
            false_alarms=sum(len(at[SHIPPED][number].false_alarms) for number in numbers if rated[number]),
            hours=sum(listened[number].seconds for number in numbers if rated[number]) / 3600,
        )
        for recording, numbers in sorted(rows.items())
    ]


def _recall(pairs: Sequence[Pair]) -> Recall:
    found: dict[str, int] = defaultdict(int)
    total: dict[str, int] = defaultdict(int)
    for one, matched in pairs:
        if matched.bursts:
            found[one.sound.recording] += sum(matched.found)
            total[one.sound.recording] += len(matched.bursts)
    names = sorted(total)
    share = share_by_recording([found[name] for name in names], [total[name] for name in names])
    return Recall(value=share.value, low=share.low, high=share.high, bursts=sum(total.values()), recordings=len(names))
