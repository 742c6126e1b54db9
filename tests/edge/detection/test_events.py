"""The event logic: what a ranger is told, and that nothing is told twice or swallowed."""

import ast
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.detection import event as event_module
from edge.detection import events as events_module
from edge.detection import track as track_module
from edge.detection.event import UPDATE_S
from edge.detection.events import Event, EventLogic, Heard, Listen, Rule, Timing, deaf
from edge.detection.onset import Impulse
from edge.settings import DetectionSettings

RATE = 16_000
WINDOW_S = 0.975
HOP = round(0.24 * RATE)
WINDOW = round(WINDOW_S * RATE)
GUN = Rule("gun_shot", threshold=0.5, release=0.2, required_hits=2)


def logic(listen: Listen = deaf, rules: Sequence[Rule] = (GUN,), **changes: float) -> EventLogic:
    chosen = DetectionSettings.model_validate({"refractory_s": 1.0, "merge_s": 3.0, **changes})
    return EventLogic(rules, Timing.of(chosen, RATE, WINDOW_S), listen)


def run(track: EventLogic, scores: Sequence[float], first: int = 0) -> list[Event]:
    out = [event for k, score in enumerate(scores) for event in track.observe(first + k * HOP, [score])]
    return out + track.finish()


def sound_with(*shots_s: float, level_dbfs: float = -10.0) -> Listen:
    """A waveform that is only its shots."""

    def listen(start: int, stop: int) -> Heard:
        heard = [Impulse(round(s * RATE), level_dbfs, level_dbfs) for s in shots_s if start <= s * RATE < stop]
        return Heard(level_dbfs if heard else -60.0, heard)

    return listen


def scores_of(length_s: float, *shots_s: float, score: float = 0.9, need_s: float = 0.1) -> list[float]:
    """A network that hears a shot in every window that holds it and ``need_s`` of what follows."""
    return [
        score if any(k * HOP <= s * RATE and k * HOP + WINDOW >= (s + need_s) * RATE for s in shots_s) else 0.01
        for k in range(int((length_s - WINDOW_S) * RATE / HOP) + 1)
    ]


def phases(out: Sequence[Event]) -> list[str]:
    return [event.phase for event in out]


def test_one_shot_is_one_new_and_one_end_at_its_onset() -> None:
    out = run(logic(sound_with(5.0)), scores_of(15, 5.0))
    assert phases(out) == ["new", "end"]
    assert {event.first_onset for event in out} == {5 * RATE}
    assert out[-1].shots == 1
    assert 0 < out[-1].end - out[-1].last_onset <= HOP


def test_a_single_window_is_not_enough_and_two_are() -> None:
    assert run(logic(), [0, 0, 0.9, 0, 0, 0, 0, 0]) == []
    assert phases(run(logic(), [0, 0, 0.9, 0.9, 0, 0, 0, 0])) == ["new", "end"]


def test_a_model_that_needs_one_hit_confirms_with_the_first() -> None:
    track = logic(rules=[Rule("gun_shot", 0.5, 0.2, 1)])
    assert track.observe(0, [0.1]) == []
    assert phases(track.observe(HOP, [0.6])) == ["new"]


def test_the_alert_comes_with_the_confirming_window_and_not_later() -> None:
    track = logic(sound_with(5.0))
    told = [(k, out) for k, score in enumerate(scores_of(8, 5.0)) if (out := track.observe(k * HOP, [score]))]
    newest_s = (told[0][0] * HOP + WINDOW) / RATE
    assert 5.1 + 0.24 <= newest_s <= 5.1 + 2 * 0.24


def test_hits_apart_by_more_than_a_window_are_not_one_shot() -> None:
    # Never under release, but no shot lies in both windows.
    assert run(logic(), [0.9, 0.3, 0.3, 0.3, 0.3, 0.9, 0.3, 0.1]) == []
    assert phases(run(logic(), [0.9, 0.3, 0.3, 0.9, 0.3, 0.1])) == ["new", "end"]


def test_a_dip_under_release_starts_the_count_again_and_one_above_it_does_not() -> None:
    assert run(logic(), [0.9, 0.1, 0.9, 0.1]) == []
    assert phases(run(logic(), [0.9, 0.3, 0.9, 0.1])) == ["new", "end"]


def test_a_burst_is_one_event_that_counts_its_shots() -> None:
    shots = (5.0, 5.6, 6.2, 8.5)
    out = run(logic(sound_with(*shots)), scores_of(20, *shots))
    assert phases(out)[0] == "new"
    assert phases(out)[-1] == "end"
    assert Counter(phases(out))["new"] == 1
    assert out[-1].shots == 4
    assert out[-1].first_onset == 5 * RATE
    assert out[-1].last_onset == round(8.5 * RATE)
    grown = [event.shots for event in out]
    assert grown == sorted(grown)


@pytest.mark.parametrize(("apart_s", "count"), [(2.9, 1), (3.1, 2), (3.6, 2), (6.0, 2)])
def test_shots_closer_than_merge_s_are_one_event_and_others_two(apart_s: float, count: int) -> None:
    shots = (5.0, 5.0 + apart_s)
    out = run(logic(sound_with(*shots)), scores_of(20, *shots))
    assert Counter(phase for phase in phases(out) if phase != "update") == {"new": count, "end": count}
    assert out[-1].shots == 3 - count
    assert [event.first_onset for event in out if event.phase == "new"] == [round(s * RATE) for s in shots][:count]


def test_updates_of_a_burst_are_no_closer_than_their_interval() -> None:
    shots = tuple(5 + 0.3 * k for k in range(40))
    track = logic(sound_with(*shots))
    told = [
        k * HOP / RATE
        for k, score in enumerate(scores_of(25, *shots))
        for event in track.observe(k * HOP, [score])
        if event.phase == "update"
    ]
    assert 3 <= len(told) <= 12 / UPDATE_S
    assert all(later - earlier >= UPDATE_S for earlier, later in pairwise(told))


def test_a_faint_impulse_beside_a_shot_is_not_a_shot() -> None:
    def listen(start: int, stop: int) -> Heard:
        both = [Impulse(round(5.0 * RATE), -6.0, -6.0), Impulse(round(5.3 * RATE), -30.0, -30.0)]
        return Heard(-6.0, [one for one in both if start <= one.onset < stop])

    assert run(logic(listen), scores_of(15, 5.0))[-1].shots == 1


def test_refractory_time_keeps_an_ended_event_from_coming_back() -> None:
    two = [0.0] * 8 + [0.9] * 3 + [0.0] * 4 + [0.9] * 3 + [0.0] * 8
    assert Counter(phases(run(logic(merge_s=0, refractory_s=0), two)))["new"] == 2
    assert Counter(phases(run(logic(merge_s=0, refractory_s=5), two)))["new"] == 1


def test_a_sound_without_end_is_ended_at_the_limit_and_does_not_open_again_until_it_stopped() -> None:
    endless = run(logic(max_event_s=10), [0.9] * 400)
    assert phases(endless) == ["new", "end"]
    assert endless[-1].end - endless[-1].first_onset <= 10 * RATE
    assert Counter(phases(run(logic(max_event_s=10), [0.9] * 100 + [0.1] * 5 + [0.9] * 9 + [0.0] * 30)))["new"] == 2


def test_a_gap_forgets_half_a_confirmation_and_ends_an_open_event_after_it() -> None:
    track = logic()
    assert track.observe(0, [0.9]) == []
    assert track.observe(HOP + WINDOW // 2, [0.9]) == []
    assert phases(track.observe(2 * HOP + WINDOW // 2, [0.9])) == ["new"]
    assert phases(track.observe(60 * RATE, [0.0])) == ["end"]


def test_windows_out_of_order_are_refused() -> None:
    track = logic()
    track.observe(HOP, [0.0])
    with pytest.raises(ValueError, match="after the one"):
        track.observe(HOP, [0.0])


def test_labels_do_not_mix() -> None:
    saw = Rule("chainsaw", 0.5, 0.2, 2)
    track = logic(rules=[GUN, saw])
    out = [e for k, pair in enumerate([(0.9, 0.9), (0.1, 0.9), (0.9, 0.9)]) for e in track.observe(k * HOP, pair)]
    assert [(e.label, e.phase) for e in out] == [("chainsaw", "new")]


def test_a_storm_is_one_message_that_counts_from_the_first_to_the_last() -> None:
    shots = tuple(10.0 + 5 * k for k in range(30))  # every 5 s: 12 a minute, 6 allowed
    out = run(logic(sound_with(*shots), merge_s=1, storm_alerts=6, storm_s=60), scores_of(260, *shots))
    single = [e for e in out if e.phase == "new" and e.collapsed is None]
    storm = [e for e in out if e.collapsed is not None]
    assert [e.first_onset for e in single] == [round(s * RATE) for s in shots[:6]]
    assert storm[0].collapsed == (1, round(shots[6] * RATE), round(shots[6] * RATE))
    assert storm[-1].phase == "end"
    assert storm[-1].collapsed == (24, round(shots[6] * RATE), round(shots[-1] * RATE))
    assert storm[-1].shots == 24
    assert len({e.number for e in storm}) == 1
    assert 3 <= Counter(phases(storm))["update"] <= 120 / 30 + 1


def test_after_a_storm_alerts_are_single_again() -> None:
    shots = (*(10.0 + 5 * k for k in range(10)), 200.0)
    out = run(logic(sound_with(*shots), merge_s=1), scores_of(230, *shots))
    last = [event for event in out if event.phase == "new"][-1]
    assert last.collapsed is None
    assert last.first_onset == 200 * RATE


def test_no_clock_but_the_sample_index_is_read() -> None:
    imported = {
        name.split(".")[0]
        for module in (event_module, events_module, track_module)
        for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert imported.isdisjoint({"time", "datetime", "random", "os", "threading"})


# --- what must hold for any scores at all ---

steps = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.1, 0.19, 0.2, 0.3, 0.49, 0.5, 0.6, 0.9, 1.0, float("nan")]),
        st.integers(1, 12),
        st.sampled_from([0, 0, 0, 0, 0, 0, 0, HOP // 3, WINDOW, 7 * RATE, 100 * RATE]),
    ),
    max_size=60,
).map(lambda runs: [(score, HOP + (extra if k == 0 else 0)) for score, times, extra in runs for k in range(times)])
impulse_times = st.lists(st.tuples(st.integers(0, 80 * RATE), st.integers(-60, 0)), max_size=40)
choices = st.fixed_dictionaries(
    {
        "merge_s": st.sampled_from([0, 0.5, 3]),
        "refractory_s": st.sampled_from([0, 1, 5]),
        "max_event_s": st.sampled_from([1, 5, 30]),
        "storm_alerts": st.integers(1, 4),
        "storm_s": st.sampled_from([1, 10, 60]),
    }
)


def hearing(impulses: Sequence[tuple[int, int]], shift: int = 0) -> Listen:
    def listen(start: int, stop: int) -> Heard:
        heard = sorted(
            Impulse(at + shift, float(level), float(level)) for at, level in impulses if start <= at + shift < stop
        )
        return Heard(max((one.level_dbfs for one in heard), default=-120.0), heard)

    return listen


def drive(track: EventLogic, scored: Sequence[tuple[float, int]], first: int = 0) -> list[tuple[int, Event]]:
    told, start = [], first
    for score, step in scored:
        start += step
        told += [(start, event) for event in track.observe(start, [score])]
    return told + [(start, event) for event in track.finish()]


@settings(max_examples=150, deadline=None)
@given(steps, impulse_times, choices)
def test_every_new_has_exactly_one_end_and_phases_only_go_forward(scored, impulses, changes) -> None:  # type: ignore[no-untyped-def]
    by_number: dict[int, list[Event]] = defaultdict(list)
    open_now: set[int] = set()
    for _, event in drive(logic(hearing(impulses), **changes), scored):
        by_number[event.number].append(event)
        if event.phase == "new":
            assert not open_now, "two open events of one label"
            open_now.add(event.number)
        assert event.number in open_now
        if event.phase == "end":
            open_now.remove(event.number)
    assert not open_now
    assert list(by_number) == sorted(by_number)
    for told in by_number.values():
        assert phases(told) == ["new", *["update"] * (len(told) - 2), "end"]
        assert len({event.first_onset for event in told}) == 1
        for event in told:
            assert event.first_onset <= event.last_onset <= event.end
            assert event.shots >= 1
        for earlier, later in pairwise(told):
            assert earlier.shots <= later.shots
            assert earlier.score <= later.score
            assert earlier.last_onset <= later.last_onset
            assert (earlier.collapsed or (0,))[0] <= (later.collapsed or (0,))[0]


@settings(max_examples=100, deadline=None)
@given(steps, impulse_times, choices)
def test_nothing_is_swallowed_by_a_storm(scored, impulses, changes) -> None:  # type: ignore[no-untyped-def]
    told = [event for _, event in drive(logic(hearing(impulses), **changes), scored)]
    calm = [event for _, event in drive(logic(hearing(impulses), **{**changes, "storm_alerts": 1000}), scored)]
    confirmed = sum(event.phase == "new" for event in calm)
    single = sum(event.phase == "new" and event.collapsed is None for event in told)
    folded = sum(event.collapsed[0] for event in told if event.phase == "end" and event.collapsed)
    assert single + folded == confirmed
    ends = [event for event in told if event.phase == "end"]
    assert sum(e.shots for e in ends) == sum(e.shots for e in calm if e.phase == "end")


@settings(max_examples=100, deadline=None)
@given(steps, impulse_times, choices, st.integers(1, 4))
def test_no_event_without_the_required_hits_in_overlapping_windows(scored, impulses, changes, required) -> None:  # type: ignore[no-untyped-def]
    track = logic(hearing(impulses), rules=[Rule("gun_shot", 0.5, 0.2, required)], **{**changes, "storm_alerts": 1000})
    starts, at = [], 0
    for score, step in scored:
        at += step
        starts.append((at, score))
    for told_at, event in drive(track, scored):
        if event.phase == "new":
            hits = [s for s, score in starts if told_at - WINDOW < s <= told_at and score >= 0.5]
            assert len(hits) >= required
            assert event.score >= 0.5


@settings(max_examples=60, deadline=None)
@given(steps, impulse_times, choices, st.integers(1, 10**12))
def test_a_later_start_of_the_clock_moves_everything_and_changes_nothing(scored, impulses, changes, shift) -> None:  # type: ignore[no-untyped-def]
    def moved(event: Event) -> Event:
        c = event.collapsed
        return Event(
            event.number,
            event.phase,
            event.label,
            event.score,
            event.threshold,
            event.first_onset + shift,
            event.last_onset + shift,
            event.end + shift,
            event.shots,
            event.level_dbfs,
            None if c is None else (c[0], c[1] + shift, c[2] + shift),
        )

    here = [moved(event) for _, event in drive(logic(hearing(impulses), **changes), scored)]
    there = [event for _, event in drive(logic(hearing(impulses, shift), **changes), scored, first=shift)]
    assert here == there
