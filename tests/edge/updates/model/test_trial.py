"""A new model beside the current one, in the real child, on windows that were really heard: what is broken goes."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.audio.frontend import FrontEnd
from edge.detection.model import load_bytes
from edge.settings import DetectionSettings
from edge.updates.model.judgement import objection
from edge.updates.model.shadow import Refused, Shadow
from edge.updates.model.trial import pack, unpack
from tests.edge.updates.model.candidates import QUIET, candidate, that_crashes, with_other_golden
from trainer.synthesis.scene import ambience

RATE = 16_000


@pytest.fixture(scope="module")
def current() -> bytes:
    return candidate("1")


@contextmanager
def trial(folder: Path, current: bytes, new: bytes, digest: str = "") -> Iterator[Shadow]:
    (folder / "current.tflite").write_bytes(current)
    (folder / "new.tflite").write_bytes(new)
    shadow = Shadow(
        folder / "new.tflite",
        digest or sha256(new).hexdigest(),
        folder / "current.tflite",
        DetectionSettings(),
        RATE,
    )
    try:
        yield shadow
    finally:
        shadow.close()


def check(shadow: Shadow) -> dict[str, Any]:
    while shadow.checked is None:
        shadow.poll(1.0)
    return shadow.checked


def listen_along(shadow: Shadow, current: bytes, sound: NDArray[np.float32]) -> None:
    model, front_end = load_bytes(current), FrontEnd(RATE, 0.24)
    for window in front_end.push(0, sound):
        scores = model.score(window)
        sent = shadow.sent
        while shadow.sent == sent:  # a busy machine may need longer than live sound would give it
            shadow.offer(window, scores)
            shadow.poll(0.02)


def forest(seconds: float, level: float = 0.001) -> NDArray[np.float32]:
    return ambience(seconds, RATE, np.random.default_rng(7), level=level).astype(np.float32)


def verdict(folder: Path, current: bytes, new: bytes, sound: NDArray[np.float32] | None = None) -> str:
    """Why it is refused; empty where it may take over."""
    try:
        with trial(folder, current, new) as shadow:
            check(shadow)
            listen_along(shadow, current, forest(10) if sound is None else sound)
            return objection(*shadow.finish())
    except Refused as refusal:
        return str(refusal)


def test_a_good_model_passes_and_its_figures_say_what_it_heard(tmp_path: Path, current: bytes) -> None:
    with trial(tmp_path, current, candidate("2")) as shadow:
        checked = check(shadow)
        listen_along(shadow, current, forest(10))
        new, old = shadow.finish()
    assert checked["inference_ms"] > 0
    assert new.windows == old.windows == shadow.sent == 38
    assert new.hits == old.hits == new.events == 0
    assert objection(new, old) == ""


@pytest.mark.parametrize(
    ("new", "why"),
    [
        (lambda good: with_other_golden(good), "golden vector"),
        (lambda good: that_crashes(good), "crashed its trial .signal 11"),
        (lambda good: good[:-3], "not a model file"),
        (lambda good: candidate(hungry=400), "memory|cannot run"),
        (lambda good: candidate(hungry=80), "MiB of memory"),
        (lambda good: candidate(slow=8), "ms for a window"),
        (lambda good: candidate(gain=0.0, centre=0.0), "the same scores whatever"),
        (lambda good: candidate(gain=1e-6, centre=-2e7), "the same scores whatever"),
        (lambda good: candidate(gain=50.0, centre=-9.0), "the same scores whatever"),
        (lambda good: candidate(centre=-30.0), "the same scores whatever"),
        (lambda good: candidate(gain=0.3, centre=-9.0), "over its threshold"),
        (lambda good: candidate(centre=9.0, gain=1.0), "does not hear the gun_shot"),
        (lambda good: candidate(centre=QUIET, gain=8.0), "over its threshold"),
        (lambda good: candidate(lonely=True), "cannot hear speech"),
        (
            lambda good: candidate(
                labels=["chainsaw", "background"],
                roles={"chainsaw": "alert", "background": "background", "Shout": "privacy"},
                decisions={"chainsaw": {"threshold": 0.5, "release": 0.3, "hits": {"0.24": 2}}},
            ),
            "alarms for",
        ),
    ],
    ids=[
        "golden", "crash", "cut", "memory", "memory-a-little", "slow", "constant", "nearly-zero", "all-one",
        "all-one-2", "ever-on", "deaf", "half-on", "speech", "labels",
    ],
)  # fmt: skip
def test_a_broken_model_is_refused_with_the_reason(tmp_path: Path, current: bytes, new: Any, why: str) -> None:
    assert re.search(why, found := verdict(tmp_path, current, new(current))), found


def test_scores_that_are_no_numbers_in_live_sound_are_refused(tmp_path: Path, current: bytes) -> None:
    new = candidate(root_of_quiet=True)
    assert "not between 0 and 1" in verdict(tmp_path, current, new, forest(10, level=0.0001))


def test_other_alert_labels_pass_where_the_maintainers_say_so_in_the_manifest(tmp_path: Path, current: bytes) -> None:
    new = candidate(
        labels=["gun_shot", "chainsaw"],
        roles={"gun_shot": "alert", "chainsaw": "alert", "Shout": "privacy"},
        decisions={
            "gun_shot": {"threshold": 0.5, "release": 0.3, "hits": {"0.24": 2}},
            "chainsaw": {"threshold": 0.99999, "release": 0.9, "hits": {"0.24": 2}},
        },
        changes_alert_labels=True,
    )
    with trial(tmp_path, current, new) as shadow:
        assert check(shadow)


def test_a_file_that_is_not_the_one_that_was_downloaded_is_refused(tmp_path: Path, current: bytes) -> None:
    with (
        trial(tmp_path, current, candidate("2"), digest="0" * 64) as shadow,
        pytest.raises(Refused, match="not the one"),
    ):
        check(shadow)


def test_a_child_that_hangs_costs_dropped_windows_and_nothing_else(
    tmp_path: Path, current: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.updates.model.shadow.HUNG_S", 1.0)
    model, window = load_bytes(current), next(iter(FrontEnd(RATE, 0.24).push(0, forest(1))))
    with trial(tmp_path, current, candidate("2")) as shadow:
        check(shadow)
        os.kill(shadow.pid, signal.SIGSTOP)
        for _ in range(200):
            shadow.offer(window, model.score(window))
        assert 0 < shadow.sent < 100  # what the socket holds
        assert shadow.sent + shadow.dropped == 200
        with pytest.raises(Refused, match="hung"):
            for _ in range(100):
                shadow.poll(0.1)


def test_a_child_that_is_killed_is_a_refusal(tmp_path: Path, current: bytes) -> None:
    model, window = load_bytes(current), next(iter(FrontEnd(RATE, 0.24).push(0, forest(1))))
    with trial(tmp_path, current, candidate("2")) as shadow:
        check(shadow)
        os.kill(shadow.pid, signal.SIGKILL)
        with pytest.raises(Refused, match="signal 9"):
            for _ in range(100):
                shadow.poll(0.1)
        shadow.offer(window, model.score(window))
        assert shadow.dropped == 1


def test_the_child_ends_with_its_parent_even_while_it_hangs(tmp_path: Path, current: bytes) -> None:
    (tmp_path / "current.tflite").write_bytes(current)
    (tmp_path / "new.tflite").write_bytes(new := candidate("2"))
    script = (
        "import sys, time; from pathlib import Path; from edge.settings import DetectionSettings\n"
        "from edge.updates.model.shadow import Shadow\n"
        f"shadow = Shadow(Path('new.tflite'), '{sha256(new).hexdigest()}', Path('current.tflite'),"
        f" DetectionSettings(), {RATE})\n"
        "while shadow.checked is None: shadow.poll(1.0)\n"
        "print(shadow.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [os.sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[4])},
    )  # fmt: skip
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    os.kill(child, signal.SIGSTOP)
    parent.kill()
    parent.wait()
    until_s = time.monotonic() + 10
    while Path(f"/proc/{child}/cmdline").exists() and Path(f"/proc/{child}/cmdline").read_bytes():
        assert time.monotonic() < until_s
        time.sleep(0.05)


def test_a_packet_comes_back_as_it_was() -> None:
    labels, patch = np.array([0.25, 0.5], np.float32), np.arange(96 * 64, dtype=np.float32).reshape(96, 64)
    start, back, again = unpack(pack(1 << 40, labels, patch))
    assert start == 1 << 40
    assert back.tolist() == [0.25, 0.5]
    assert np.array_equal(again, patch)
    with pytest.raises(ValueError, match="packet"):
        unpack(pack(0, labels, patch)[:-1])
