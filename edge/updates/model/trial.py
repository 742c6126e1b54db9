"""The child in which a new model is tried: it may crash, hang or eat memory here, and the daemon goes on.

Started by ``shadow`` with its orders as JSON in the first argument; standard input is the socket on which
the daemon hands over what it hears, one packet a window.

Without a current model to compare it with it is the model from before, which only listens along (`beside`): that is 2
alone, and every two seconds → ``{"beside": {…}}``. Otherwise, in order:

1. What ``verify`` checks (digest, front end, golden vectors), and what only a comparison with the current model shows:
   labels, time and memory, that it is no constant, that it hears what the current model hears. → ``{"checked": {…}}``
2. Listens along, until the daemon ends the packets; says every two seconds that it lives. → ``{"figures": {…}}``
3. Whatever is wrong ends it. → ``{"refused": "why"}``

One JSON object a line on standard output. The exit code is 0, or 1 after a refusal.
"""

import contextlib
import ctypes
import json
import os
import resource
import signal
import socket
import statistics
import struct
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from edge.audio.frontend import Window
from edge.audio.logmel import MEL_BANDS, PATCH_FRAMES, log_mel
from edge.detection.event import Timing
from edge.detection.model import Model, load_bytes
from edge.detection.model_file import ModelFileError, has_manifest, parse, read_bytes
from edge.detection.site import rules_of
from edge.detection.verify import check, read_golden
from edge.settings import DetectionSettings
from edge.updates.model.judgement import SPREAD, Figures, Tally, objection

ADDRESS_SPACE_BYTES = 192 << 20
"""What may be added to the address space of the child once all is imported."""
ROUNDS, TIMING_S = 40, 1.0
ALIVE_EVERY_S = 2.0
HEADER = struct.Struct("<qI")
"""Start of the window (index at the capture rate), number of scores."""
PATCH_BYTES = PATCH_FRAMES * MEL_BANDS * 4
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def pack(start: int, labels: NDArray[np.float32], patch: NDArray[np.float32]) -> bytes:
    """A packet: the window at ``start``, its log-mel patch float32 [96, 64], and the current model's scores [K]."""
    return HEADER.pack(start, len(labels)) + labels.astype("<f4").tobytes() + patch.astype("<f4").tobytes()


def unpack(packet: bytes) -> tuple[int, NDArray[np.float32], NDArray[np.float32]]:
    """``start, labels, patch`` of a packet, as `pack` took them. Raises ValueError."""
    start, count = HEADER.unpack_from(packet)
    if len(packet) != HEADER.size + 4 * count + PATCH_BYTES:
        raise ValueError(f"a packet of {len(packet)} bytes with {count} scores")
    labels = np.frombuffer(packet, "<f4", count, HEADER.size)
    patch = np.frombuffer(packet, "<f4", PATCH_FRAMES * MEL_BANDS, HEADER.size + 4 * count)
    return start, labels, patch.reshape(PATCH_FRAMES, MEL_BANDS)


def say(**line: Any) -> None:
    print(json.dumps(line), flush=True)


def refuse(why: str) -> NoReturn:
    say(refused=" ".join(why.split())[:500])
    sys.exit(1)


def main(orders: dict[str, Any]) -> None:
    """``orders``: ``candidate`` and its ``sha256``, ``current``, ``detection`` (settings), ``sample_rate_hz``."""
    _fend_off()
    settings = DetectionSettings.model_validate(orders["detection"])
    before_bytes = _resident_bytes()
    _limit(ADDRESS_SPACE_BYTES)
    try:
        data = read_bytes(Path(orders["candidate"]))
        rate = int(orders["sample_rate_hz"])
        if orders["current"] is None:
            accompany(load_bytes(data, "the model from before"), settings, rate)
            return
        if sha256(data).hexdigest() != orders["sha256"]:
            refuse("the file in the slot is not the one that was downloaded")
        if not has_manifest(data):
            refuse("is no model file of EcoSight's own kind")
        new = check(data, "the new model")
        growth_bytes = _resident_bytes() - before_bytes
        current_data = read_bytes(Path(orders["current"]))
        current = load_bytes(current_data, "the current model")
        compare_labels(new, current)
        windows = golden_windows(data) + (golden_windows(current_data) if has_manifest(current_data) else [])
        compare_on_golden(new, current, windows, settings)
        new_ms, current_ms = timing(new, current, windows)
        timed = {"inference_ms": new_ms, "hop_s": settings.hop_s, "growth_bytes": growth_bytes}
        current_timed = Figures(inference_ms=current_ms, hop_s=settings.hop_s)
        if why := objection(Figures(**timed), current_timed):
            refuse(why)
        say(checked={"inference_ms": new_ms, "current_ms": current_ms, "growth_bytes": growth_bytes})
        del data, current_data, windows
        tallies = [Tally(*_columns(model, settings), _timing(model, settings, rate)) for model in (new, current)]
        del current
        listen(new, tallies[0], tallies[1], lambda: say(windows=tallies[0].windows))
        growth_bytes = max(growth_bytes, _resident_bytes() - before_bytes)
        say(
            figures={
                "new": tallies[0].figures(**{**timed, "growth_bytes": growth_bytes}).model_dump(),
                "current": tallies[1].figures(inference_ms=current_ms, hop_s=settings.hop_s).model_dump(),
            }
        )
    except ModelFileError as error:
        refuse(str(error))
    except MemoryError:
        refuse("needs more memory than a model may take")


def compare_labels(new: Model, current: Model) -> None:
    """Receivers act on labels: they change only where maintainers say so in the manifest."""
    if set(new.alert_labels) != set(current.alert_labels) and not new.manifest.changes_alert_labels:
        refuse(f"alarms for {new.alert_labels}, the current model for {current.alert_labels}")
    if current.has_speech and not new.has_speech:
        refuse("cannot hear speech: no clip could leave this device any more")


def golden_windows(data: bytes) -> list[Window]:
    """The sound of a model file's golden vectors. Raises ModelFileError."""
    golden = parse(data).golden
    waveforms = read_golden(golden)["waveform"] if golden is not None else np.empty((0, 0), np.int16)
    sound = waveforms.astype(np.float32) / 32768
    return [Window(0, log_mel(one), one, len(one)) for one in sound]


def compare_on_golden(new: Model, current: Model, windows: list[Window], settings: DetectionSettings) -> None:
    """Sounds as different as these must not score the same, and a shot must not leave the new model unmoved."""
    tally = Tally(*_columns(new, settings))
    deaf: set[str] = set()
    hearing: set[str] = set()
    for window in windows:
        scores, usual = new.score(window).labels, current.score(window).labels
        tally.observe(0, scores)
        for rule in rules_of(current, settings):
            if rule.label not in new.alert_labels:
                continue
            decision = new.manifest.decisions[rule.label]
            if usual[current.manifest.labels.index(rule.label)] >= rule.threshold:
                heard = scores[new.manifest.labels.index(rule.label)] >= decision.release
                (hearing if heard else deaf).add(rule.label)
    if tally.wrong:
        refuse("gives scores that are not between 0 and 1")
    if windows and tally.spread < SPREAD:
        refuse("gives the same scores whatever it hears")
    if deaf - hearing:
        refuse(f"does not hear the {sorted(deaf - hearing)[0]} of the golden vectors, which the current model hears")


def timing(new: Model, current: Model, windows: list[Window]) -> tuple[float | None, float | None]:
    """Median times of both models for a window, in ms, turn by turn on the same windows."""
    took: tuple[list[float], list[float]] = ([], [])
    until_s = monotonic() + TIMING_S
    for number in range(ROUNDS * bool(windows)):
        for model, times in zip((new, current), took, strict=True):
            began = perf_counter()
            model.listen(windows[number % len(windows)])
            times.append((perf_counter() - began) * 1e3)
        if monotonic() > until_s:
            break
    return tuple(statistics.median(times) if times else None for times in took)  # type: ignore[return-value]


def accompany(model: Model, settings: DetectionSettings, rate: int) -> None:
    """Listen along and tell how it goes, until the daemon ends the packets. Nothing is said of the running model."""
    tally = Tally(*_columns(model, settings), _timing(model, settings, rate))
    say(checked={})
    listen(model, tally, None, lambda: say(beside=tally.figures(hop_s=settings.hop_s).model_dump()))


def listen(new: Model, tally: Tally, current_tally: Tally | None, speak: Callable[[], None]) -> None:
    """Score what the daemon hears until it ends the packets."""
    source = socket.socket(fileno=os.dup(0))
    source.settimeout(ALIVE_EVERY_S)
    said_s = 0.0
    silence = np.zeros(0, np.float32)
    while True:
        try:
            packet = source.recv(1 << 20)
        except TimeoutError:
            packet = None
        if packet:
            start, labels, patch = unpack(packet)
            tally.observe(start, new.score(Window(start, patch, silence, 0)).labels)
            if current_tally is not None:
                current_tally.observe(start, labels)
        elif packet is not None:
            return
        if monotonic() - said_s >= ALIVE_EVERY_S:
            said_s = monotonic()
            speak()


def _columns(model: Model, settings: DetectionSettings) -> tuple[list[Any], list[int]]:
    rules = rules_of(model, settings)
    return list(rules), [model.manifest.labels.index(rule.label) for rule in rules]


def _timing(model: Model, settings: DetectionSettings, rate: int) -> Timing:
    return Timing.of(settings, rate, model.manifest.window_s)


def _fend_off() -> None:
    """End with the daemon, go first when memory runs out, and stand behind detection for the processor."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == 1:
        sys.exit(1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(10)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _limit(more_bytes: int) -> None:
    limit = _status_bytes("VmSize:") + more_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _resident_bytes() -> int:
    return _status_bytes("VmRSS:")


def _status_bytes(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
