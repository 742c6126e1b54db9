"""The watchdog, with a datagram socket that stands in for systemd."""

import itertools
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.upkeep.watchdog import Notifier, Watchdog, watchdog_interval_s


class Manager:
    """The receiving end of sd_notify."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(0.2)

    def datagrams(self) -> list[dict[str, str]]:
        found = []
        while True:
            try:
                text = self.socket.recv(4096).decode()
            except TimeoutError:
                return found
            found.append(dict(line.split("=", 1) for line in text.split("\n")))


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify"))
    yield manager
    manager.socket.close()


@pytest.fixture
def environment(tmp_path: Path, manager: Manager) -> dict[str, str]:
    return {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}


class Time:
    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


def test_no_ping_comes_late_where_the_main_thread_sleeps_as_long_as_it_may(
    manager: Manager, environment: dict[str, str]
) -> None:
    now = Time()
    watchdog = Watchdog(environment, now)
    pinged_at_s = []
    for _ in range(40):
        watchdog.tick()
        pinged_at_s.append(watchdog._pinged_at_s or 0.0)
        now.s += watchdog.due_in_s
    # Half of the interval: sd_watchdog_enabled(3).
    assert max(later - earlier for earlier, later in itertools.pairwise(pinged_at_s)) < 15.0
    assert len(manager.datagrams()) == len(set(pinged_at_s)) > 15
    assert Watchdog({}).due_in_s == float("inf")


def test_ready_status_and_stopping_are_what_systemd_reads(manager: Manager, environment: dict[str, str]) -> None:
    watchdog = Watchdog(environment)
    watchdog.ready("listening to card:Mic")
    watchdog.status("two\nlines")
    watchdog.stopping()
    assert manager.datagrams() == [
        {"READY": "1", "STATUS": "listening to card:Mic"},
        {"STATUS": "two lines"},
        {"STOPPING": "1", "STATUS": "stopping"},
    ]


def test_reload_carries_the_monotonic_time_and_is_ended_by_ready(manager: Manager, environment: dict[str, str]) -> None:
    watchdog = Watchdog(environment)
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    watchdog.reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    watchdog.ready()
    reloading, ready = manager.datagrams()
    assert reloading["RELOADING"] == "1"
    assert before <= int(reloading["MONOTONIC_USEC"]) <= after
    assert ready == {"READY": "1"}


def test_an_abstract_socket_is_reached() -> None:
    name = f"ecosight-test-{os.getpid()}-{time.monotonic_ns()}"
    manager = Manager("\0" + name)
    try:
        assert Notifier("@" + name).send(WATCHDOG=1)
        assert manager.datagrams() == [{"WATCHDOG": "1"}]
    finally:
        manager.socket.close()


def test_without_systemd_nothing_is_sent_and_nothing_fails() -> None:
    watchdog = Watchdog({})
    watchdog.ready()
    assert watchdog.tick()
    assert watchdog.interval_s is None


def test_a_socket_that_is_gone_does_not_stop_the_daemon(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier(str(tmp_path / "nobody"))
    assert not notifier.send(READY=1)
    assert not notifier.send(WATCHDOG=1)
    assert len(caplog.records) == 1, "said once, not at every ping"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({}, None),
    ],
)
def test_the_interval_is_only_taken_where_it_is_meant_for_this_process(
    environment: dict[str, str], expected: float | None
) -> None:
    assert watchdog_interval_s(environment, pid=7) == expected


def test_pings_come_at_least_every_half_interval_while_all_loops_move(
    manager: Manager, environment: dict[str, str]
) -> None:
    now, beat = Time(), [0]
    watchdog = Watchdog(environment, monotonic_s=now)
    watchdog.register("detector", lambda: beat[0])
    pings = []
    for _ in range(120):
        now.s += 1
        beat[0] += 1
        watchdog.tick()
        pings += [now.s] * len(_waiting(manager))
    assert len(pings) >= 8
    assert max(b - a for a, b in itertools.pairwise(pings)) <= 15
    assert len(pings) <= 20, "pings cost wake-ups"


def _waiting(manager: Manager) -> list[bytes]:
    manager.socket.setblocking(False)
    found = []
    try:
        while True:
            found.append(manager.socket.recv(4096))
    except BlockingIOError:
        return found
    finally:
        manager.socket.settimeout(0.2)


def test_a_hung_loop_withholds_the_ping_and_is_named(manager: Manager, environment: dict[str, str]) -> None:
    now, beats = Time(), {"capture": 0, "detector": 0}
    watchdog = Watchdog(environment, monotonic_s=now)
    watchdog.register("capture", lambda: beats["capture"])
    watchdog.register("detector", lambda: beats["detector"])
    for second in range(60):
        now.s += 1
        beats["capture"] += 1
        if second < 10:
            beats["detector"] += 1
        watchdog.tick()
    assert watchdog.hung == ("detector",)
    datagrams = manager.datagrams()
    assert {"STATUS": "hung: detector"} in datagrams
    assert datagrams[-1] == {"STATUS": "hung: detector"}, "said once, and no ping after it"
    beats["detector"] += 1
    now.s += 1
    assert watchdog.tick()
    assert manager.datagrams() == [{"STATUS": "moves again"}, {"WATCHDOG": "1"}]


def test_a_declared_no_audio_retry_is_not_a_hang() -> None:
    now, retrying = Time(), [True]
    watchdog = Watchdog({"WATCHDOG_USEC": "30000000"}, monotonic_s=now)
    watchdog.register("capture", lambda: 5, may_stand_still=lambda: retrying[0])
    for _ in range(3600):
        now.s += 1
        assert watchdog.tick()
    retrying[0] = False
    for _ in range(15):
        now.s += 1
        assert watchdog.tick(), "the patience starts when the retry ends"
    now.s += 1
    assert not watchdog.tick()


def test_a_slow_loop_has_its_own_patience(environment: dict[str, str]) -> None:
    now = Time()
    watchdog = Watchdog(environment, monotonic_s=now)
    watchdog.register("storage", lambda: 0, patience_s=300)
    now.s += 299
    assert watchdog.tick()
    now.s += 2
    assert not watchdog.tick()
    watchdog.forget("storage")
    assert watchdog.tick()


def test_a_really_hung_thread_is_noticed_in_real_time(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    lock, beat, stop = threading.Lock(), [0], threading.Event()

    def loop() -> None:
        while not stop.is_set():
            with lock:
                beat[0] += 1
            time.sleep(0.01)

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    watchdog = Watchdog({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"})
    watchdog.register("loop", lambda: beat[0])

    def run(seconds: float) -> int:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            watchdog.tick()
            time.sleep(0.02)
        return sum(datagram.get("WATCHDOG") == "1" for datagram in manager.datagrams())

    try:
        assert run(1.0) >= 5
        with lock:  # the loop hangs
            run(0.3)
            assert run(1.0) == 0
        assert run(1.0) >= 5
    finally:
        stop.set()
        thread.join()
        manager.socket.close()
