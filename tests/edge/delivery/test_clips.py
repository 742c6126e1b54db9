"""Clips are cut by sample index, whole, and judged, written and told one after the other."""

import hashlib
import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from edge.delivery import evidence
from edge.delivery.clips import SHOT_S, ClipRequest
from edge.delivery.flac import bits_of, write_flac
from edge.delivery.messages import Clip
from tests.edge.delivery.clip_parts import RATE_HZ, VOICE, Bench, Ears, noise, until

SHORT = {"clips": {"free_floor_bytes": 0, "pre_roll_s": 1, "post_roll_s": 1, "max_s": 5}, "audio": {"ring_s": 12}}


@budget(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rate_hz=st.sampled_from([8_000, 16_000, 22_050, 44_100, 48_000]),
    onset=st.integers(0, 20_000),
    burst=st.integers(0, 10_000),
    pre_roll_s=st.floats(0, 1.5),
    post_roll_s=st.floats(0, 1.5),
)
def test_clip_holds_the_onset_at_the_exact_preroll_sample(
    tmp_path_factory: pytest.TempPathFactory,
    rate_hz: int,
    onset: int,
    burst: int,
    pre_roll_s: float,
    post_roll_s: float,
) -> None:
    clips = {"free_floor_bytes": 0, "pre_roll_s": pre_roll_s, "post_roll_s": post_roll_s, "max_s": 8}
    bench = Bench(tmp_path_factory.mktemp("state"), rate_hz=rate_hz, clips=clips, audio={"ring_s": 15})
    sound = noise(onset + burst + int(2 * rate_hz))
    sound[onset] = -1.0
    bench.play(sound)
    bench.keeper.start()
    bench.whole_event("a1", onset, onset + burst)
    bench.finish()
    frames, description = bench.saved("a1")
    start = max(0, onset - round(pre_roll_s * rate_hz))
    stop = onset + burst + round(max(SHOT_S, post_roll_s) * rate_hz)
    assert np.array_equal(frames, sound[start:stop])
    assert frames[onset - start] == -1.0
    assert description.onset_s == (onset - start) / rate_hz == description.clip.onset_s
    assert description.start.sample == start
    bench.outbox.close()


def test_clip_is_not_cut_before_its_post_roll_exists(tmp_path: Path) -> None:
    bench = Bench(tmp_path, **SHORT)
    bench.keeper.start()
    sound = noise(6 * RATE_HZ)
    onset = 3 * RATE_HZ
    bench.play(sound[: onset + RATE_HZ - 1])
    bench.whole_event("a1", onset)
    time.sleep(0.8)
    assert bench.keeper.busy and bench.outbox.clip("a1") is None
    bench.play(sound[onset + RATE_HZ - 1 : onset + RATE_HZ])
    until(lambda: bench.outbox.clip("a1"), 5, "the last sample of the post-roll is there")
    bench.finish()
    frames, description = bench.saved("a1")
    assert np.array_equal(frames, sound[2 * RATE_HZ : 4 * RATE_HZ])
    assert description.notes == [] and description.gaps_s == []


def test_an_event_that_does_not_end_keeps_its_beginning_up_to_the_longest_clip(tmp_path: Path) -> None:
    bench = Bench(tmp_path, **SHORT)
    bench.keeper.start()
    sound = noise(14 * RATE_HZ)
    onset = 2 * RATE_HZ
    bench.play(sound[: 9 * RATE_HZ])
    bench.keeper.request(ClipRequest(bench.alert("a1", onset), onset, onset))
    bench.keeper.extend("a1", 4 * RATE_HZ, None)
    time.sleep(0.7)
    assert bench.outbox.clip("a1") is None
    bench.play(sound[9 * RATE_HZ : 12 * RATE_HZ + 480])
    until(lambda: bench.outbox.clip("a1"), 5, "the ring will soon overwrite its beginning")
    bench.keeper.extend("a1", 8 * RATE_HZ, bench.alert("a1", onset, "end"))
    bench.finish()
    frames, description = bench.saved("a1")
    assert np.array_equal(frames, sound[RATE_HZ : 6 * RATE_HZ])
    assert len(bench.messages("a1")) == 1 and description.frames == 5 * RATE_HZ


def test_a_long_event_that_has_ended_is_capped_too(tmp_path: Path) -> None:
    bench = Bench(tmp_path, **SHORT)
    sound = noise(11 * RATE_HZ)
    bench.play(sound)
    bench.keeper.start()
    bench.whole_event("a1", 2 * RATE_HZ, 9 * RATE_HZ)
    bench.finish()
    frames, _ = bench.saved("a1")
    assert np.array_equal(frames, sound[RATE_HZ : 6 * RATE_HZ])


def test_a_late_cut_starts_later_and_still_says_exactly_where_the_onset_is(tmp_path: Path) -> None:
    bench = Bench(tmp_path, **SHORT)
    sound = noise(14 * RATE_HZ)
    bench.play(sound)
    oldest, onset = bench.ring.oldest, bench.ring.oldest + RATE_HZ // 2
    assert oldest > 0
    bench.keeper.start()
    bench.whole_event("a1", onset)
    bench.finish()
    frames, description = bench.saved("a1")
    start = description.start.sample
    assert start >= oldest and start <= onset
    assert np.array_equal(frames, sound[start : onset + RATE_HZ])
    assert description.onset_s == (onset - start) / RATE_HZ
    assert "late" in description.notes[0]


def test_a_clip_whose_onset_has_left_the_ring_says_so_and_one_of_which_nothing_is_left_failed(tmp_path: Path) -> None:
    bench = Bench(tmp_path, **SHORT)
    bench.play(noise(16 * RATE_HZ))
    bench.keeper.start()
    before = bench.ring.oldest - 100
    bench.whole_event("half", before)
    bench.whole_event("gone", RATE_HZ)
    bench.finish()
    _, description = bench.saved("half")
    assert description.onset_s < 0 and description.clip.onset_s == 0
    assert [c.state for c in bench.messages("gone")] == ["failed"]


def test_gaps_inside_a_clip_are_reported(tmp_path: Path) -> None:
    bench = Bench(tmp_path, **SHORT)
    bench.keeper.start()
    bench.play(noise(2 * RATE_HZ))
    bench.ring.gap(800, "overrun")
    bench.play(noise(2 * RATE_HZ))
    bench.whole_event("a1", 2 * RATE_HZ - 160)
    bench.finish()
    frames, description = bench.saved("a1")
    start = description.start.sample
    assert description.gaps_s == [((2 * RATE_HZ - start) / RATE_HZ, (2 * RATE_HZ + 800 - start) / RATE_HZ)]
    assert not frames[2 * RATE_HZ - start : 2 * RATE_HZ + 800 - start].any()


@pytest.mark.parametrize(("bits", "subtype"), [(8, "PCM_16"), (16, "PCM_16"), (24, "PCM_24")])
def test_flac_keeps_every_bit_of_the_source_and_no_more(tmp_path: Path, bits: int, subtype: str) -> None:
    frames = noise(50_000, bits)
    frames[:2] = [-1.0, 1.0 - 2.0 ** (1 - bits)]
    path = tmp_path / "clip.flac"
    assert write_flac(path, frames, 48_000) == max(16, bits) == bits_of(frames)
    assert soundfile.info(path).subtype == subtype
    assert np.array_equal(soundfile.read(path, dtype="float32")[0], frames)


def test_samples_beyond_full_scale_are_clipped_not_wrapped(tmp_path: Path) -> None:
    write_flac(tmp_path / "clip.flac", np.array([1.0, 1.5, -1.0, -2.0], np.float32), 48_000)
    there = soundfile.read(tmp_path / "clip.flac", dtype="float32")[0]
    assert there[0] > 0.999 and there[1] > 0.999 and there[2] == there[3] == -1.0


def test_the_description_says_all_that_is_needed_to_use_the_clip_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path, **SHORT)
    bench.play(noise(4 * RATE_HZ))
    bench.keeper.start()
    bench.whole_event("a1", 2 * RATE_HZ)
    bench.finish()
    row = bench.outbox.clip("a1")
    assert row is not None and row.path == tmp_path / "clips" / "a1.flac" and row.may_leave
    said = json.loads(evidence.description_path(row.path).read_text())
    content = row.path.read_bytes()
    assert said["clip"]["sha256"] == hashlib.sha256(content).hexdigest() == row.clip.sha256
    assert said["clip"]["size_bytes"] == len(content) == row.clip.size_bytes
    assert said["alert"]["phase"] == "end" and said["alert"]["model"]["sha256"] == "ab" * 32
    assert said["alert"]["device"] == "oak" and said["clip"]["key"] == row.clip.key
    day = bench.clock.now().utc
    assert row.clip.key == f"forest/oak/{day:%Y/%m/%d}/a1.flac"
    assert said["capture"]["sample_rate_hz"] == RATE_HZ and said["start"]["boot_id"]
    assert {path.name for path in (tmp_path / "clips").iterdir()} == {"a1.flac", "a1.json"}
    assert bench.told >= 1


def test_a_drills_clip_goes_the_same_way_and_is_marked(tmp_path: Path) -> None:
    bench = Bench(tmp_path, **SHORT)
    bench.play(noise(2 * RATE_HZ))
    bench.keeper.start()
    onset = bench.ring.end
    bench.keeper.request(ClipRequest(bench.alert("drill-1", onset, test=True), onset, onset, test=True))
    bench.play(noise(RATE_HZ))
    until(lambda: bench.outbox.clip("drill-1"), 5, "the drill's clip")
    bench.finish()
    assert [(c.state, c.test) for c in bench.messages("drill-1")] == [("kept", True)]


def test_a_recording_by_command_has_no_rolls_and_passes_the_same_gate(tmp_path: Path) -> None:
    bench = Bench(tmp_path, **SHORT)
    sound = noise(5 * RATE_HZ)
    sound[-2 * RATE_HZ] = VOICE
    bench.play(sound)
    bench.keeper.start()
    for name, start in (("quiet", RATE_HZ), ("voice", 3 * RATE_HZ - 100)):
        request = ClipRequest(bench.alert(name, start, "end"), start, start + RATE_HZ, kind="recording")
        bench.keeper.request(request)
    bench.finish()
    frames, description = bench.saved("quiet")
    assert np.array_equal(frames, sound[RATE_HZ : 2 * RATE_HZ])
    assert description.kind == "recording" and description.onset_s == 0
    # Whoever had it recorded wants it: it waits for no second command where clips wait to be asked for.
    assert [row.clip.alert_id for row in bench.outbox.clips(["kept"], requested=True)] == ["quiet"]
    withheld = bench.outbox.clip("voice")
    assert withheld is not None and withheld.clip.state == "withheld" and not withheld.may_leave


@pytest.mark.parametrize("policy", ["keep", "delete", "alert_only"])
def test_a_withheld_clip_is_kept_deleted_or_never_spoken_of(tmp_path: Path, policy: str) -> None:
    bench = Bench(tmp_path, privacy={"withheld": policy}, **SHORT)
    sound = noise(4 * RATE_HZ)
    sound[3 * RATE_HZ - 1] = VOICE  # the clip's very last sample
    bench.play(sound)
    bench.keeper.start()
    bench.whole_event("a1", 2 * RATE_HZ)
    bench.finish()
    row = bench.outbox.clip("a1")
    files = {path.name for path in (tmp_path / "clips").iterdir()}
    if policy == "alert_only":
        assert row is None and files == set()
        return
    assert row is not None and row.clip.state == "withheld" and not row.may_leave
    assert row.clip.reason.startswith("speech: 0.90")
    assert files == ({"a1.flac", "a1.json"} if policy == "keep" else set())
    assert (row.path is not None) is (policy == "keep")


def test_stopping_cuts_what_waits_with_the_sound_that_exists(tmp_path: Path) -> None:
    bench = Bench(tmp_path, **SHORT)
    sound = noise(2 * RATE_HZ)
    bench.play(sound)
    bench.keeper.start()
    onset = 2 * RATE_HZ - 100
    bench.keeper.request(ClipRequest(bench.alert("a1", onset), onset, onset))
    bench.finish()
    frames, description = bench.saved("a1")
    assert np.array_equal(frames, sound[onset - RATE_HZ :])
    assert "stopped" in description.notes[0]


def test_when_the_sound_stops_a_waiting_clip_is_cut_before_the_gap_can_overwrite_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.delivery.clips.STALE_S", 0.4)
    bench = Bench(tmp_path, **SHORT)
    sound = noise(2 * RATE_HZ)
    bench.play(sound)
    bench.keeper.start()
    onset = 2 * RATE_HZ - 100
    bench.keeper.request(ClipRequest(bench.alert("a1", onset), onset, onset))
    until(lambda: bench.outbox.clip("a1"), 5, "the stale clip is cut")
    bench.ring.gap(3600 * RATE_HZ, "reopened")
    bench.finish()
    frames, _ = bench.saved("a1")
    assert np.array_equal(frames, sound[onset - RATE_HZ :])


def test_a_recording_far_faster_than_real_time_loses_no_clip(tmp_path: Path) -> None:
    bench = Bench(tmp_path, **SHORT)
    bench.keeper.start()
    sound = noise(300 * RATE_HZ)
    onsets = range(2 * RATE_HZ, 297 * RATE_HZ, 4 * RATE_HZ)

    def write() -> None:
        for start in range(0, len(sound), 4800):
            while not bench.ring.wait_for_room(1.0):
                pass
            bench.ring.write(sound[start : start + 4800])
        bench.ring.close()

    bench.ring.reader_position = 0
    writer = threading.Thread(target=write)
    writer.start()
    # The detector's part: it reads in hops as fast as it can and says what it heard, 2 s after the fact.
    waiting = list(onsets)
    for position in range(0, len(sound), RATE_HZ // 4):
        bench.ring.wait(position, 10)
        bench.ring.reader_position = position
        if waiting and position >= waiting[0] + 2 * RATE_HZ:
            bench.whole_event(f"shot{waiting[0]}", waiting.pop(0))
    bench.ring.reader_position = len(sound)
    writer.join()
    until(lambda: not bench.keeper.busy, 30, "all clips are written")
    bench.finish()
    assert waiting == []
    for onset in onsets:
        frames, description = bench.saved(f"shot{onset}")
        assert np.array_equal(frames, sound[onset - RATE_HZ : onset + RATE_HZ]), description.notes


def test_an_error_in_one_clip_does_not_end_the_keeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, **SHORT)
    bench.play(noise(5 * RATE_HZ))
    bench.keeper.start()
    put_clip = bench.outbox.put_clip
    calls = []

    def broken_once(*args: object, **kwargs: object) -> Clip:
        calls.append(args)
        if len(calls) == 1:
            raise RuntimeError("no outbox")
        return put_clip(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.outbox, "put_clip", broken_once)
    bench.whole_event("a1", 2 * RATE_HZ)
    bench.whole_event("a2", 2 * RATE_HZ)
    bench.finish()
    assert bench.outbox.clip("a2") is not None


def test_an_idle_keeper_sleeps(tmp_path: Path) -> None:
    bench = Bench(tmp_path, **SHORT)
    bench.keeper.start()
    time.sleep(0.3)
    before = time.process_time()
    beat = bench.keeper.beat
    time.sleep(1.0)
    assert time.process_time() - before < 0.05
    assert bench.keeper.beat - beat <= 1
    bench.finish()


def test_ears_as_strict_as_the_real_model_are_asked_for_the_whole_clip(tmp_path: Path) -> None:
    ears = Ears()
    bench = Bench(tmp_path, ears, **SHORT)
    bench.play(noise(6 * RATE_HZ))
    bench.keeper.start()
    bench.whole_event("a1", 3 * RATE_HZ)
    bench.finish()
    assert ears.heard[0] == 0 and ears.heard[-1] + 15_600 >= 2 * RATE_HZ
