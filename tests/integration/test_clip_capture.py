"""A clip of a real capture: PulseAudio, PortAudio, ring, FLAC."""

from pathlib import Path

import numpy as np
import pytest

from edge.delivery.clips import ClipKeeper, ClipRequest
from edge.delivery.outbox import Outbox
from tests.edge.delivery.clip_parts import Ears, settings
from tests.edge.delivery.clip_parts import until as wait_until
from tests.edge.delivery.examples import alert
from tests.integration.test_capture import Listening, find, listening, noise
from tests.servers.pulse import RATE_HZ, PulseServer

__all__ = ["listening"]

pytestmark = pytest.mark.server

PRE_ROLL_S = 1.25


@pytest.mark.parametrize("repeat", range(3))
def test_the_impulse_lands_at_the_exact_preroll_sample_of_a_real_capture(
    pulse: PulseServer,
    listening: Listening,
    tmp_path: Path,
    repeat: int,
) -> None:
    import soundfile

    clips = {"pre_roll_s": PRE_ROLL_S, "post_roll_s": 0.5, "free_floor_bytes": 0}
    chosen = settings(tmp_path, clips=clips)
    outbox = Outbox.open(tmp_path / "outbox.sqlite3")
    keeper = ClipKeeper(chosen, listening.ring, listening.clock, Ears(), outbox, lambda: None)
    keeper.start()
    listening.capture.start()
    assert listening.ring.wait(2 * RATE_HZ, 15)
    said = noise(0.4, seed=repeat)
    said[0] = -32_768  # the impulse, and nothing else is as loud
    pulse.say(said)

    def heard() -> int:
        ring = listening.ring
        start = max(ring.oldest, ring.end - 3 * RATE_HZ)
        impulses = np.flatnonzero(ring.read(start, ring.end) == -1.0)
        return start + int(impulses[0]) if len(impulses) else 0

    onset = wait_until(heard, 10, "the impulse is in the ring")
    request = outbox.put_alert(alert("a1", onset=listening.clock.moment(onset)))
    keeper.request(ClipRequest(request, onset, onset))
    keeper.extend("a1", onset, outbox.put_alert(request.model_copy(update={"phase": "end"})))
    row = wait_until(lambda: outbox.clip("a1"), 10, "the clip is cut")
    keeper.stop(5)
    assert row.path is not None and row.clip.state == "kept"
    frames, rate_hz = soundfile.read(row.path, dtype="float32")
    pre_roll = round(PRE_ROLL_S * RATE_HZ)
    assert rate_hz == RATE_HZ and soundfile.info(row.path).subtype == "PCM_16"
    assert frames[pre_roll] == -1.0 and np.abs(np.delete(frames, pre_roll)).max() < 0.2
    assert row.clip.onset_s == PRE_ROLL_S
    assert find(frames, said.astype(np.float32) / 32_768) == pre_roll
    assert len(frames) == pre_roll + RATE_HZ // 2
