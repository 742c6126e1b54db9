"""Whether the microphone is there and hears something: it is opened for a moment, as the daemon does."""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge import state_lock
from edge.settings import EdgeSettings
from edge.upkeep.doctor.examination import Outcome, bad, doubtful, good
from edge.upkeep.liveness import CONSTANT_PEAK_TO_PEAK

LISTEN_S = 1.5
OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 5.0
QUIET_DBFS = -85.0  # 16-bit converters idle around here: nothing seems to be connected
CLIPPED_SHARE = 0.01
SERVICE = Path("/etc/systemd/system/ecosight-edge.service")


@dataclass
class _Listener:
    """A sink that keeps the first ``wanted`` frames."""

    wanted: int
    enough: threading.Event
    blocks: list[NDArray[np.float32]] = field(default_factory=list)
    frames: int = 0
    lost: int = 0

    def write(self, frames: NDArray[np.float32]) -> None:
        if self.frames < self.wanted:
            self.blocks.append(frames.copy())
            self.frames += len(frames)
        if self.frames >= self.wanted:
            self.enough.set()

    def gap(self, frames: int, reason: str) -> None:
        self.lost += frames


def check_microphone(settings: EdgeSettings) -> Outcome:
    """Listen for 1.5 s. The state of the daemon is asked first: it may hold the device."""
    from edge.audio.source import SourceError, SourceLost, open_source

    audio = settings.audio
    if audio.backend == "auto" and SERVICE.exists():
        # A person has a session with a sound server; the service, which is what matters, has none.
        audio = audio.model_copy(update={"backend": "alsa"})
    held = state_lock.held(settings.state_dir)
    stop_it = "`sudo systemctl stop ecosight-edge`, then try again (its `health` message says what it hears)"
    if audio.source == "stdin":
        return good("sound comes on standard input; nothing to try")
    stop, failure = threading.Event(), list[Exception]()
    try:
        source = open_source(audio)
    except (SourceError, SourceLost) as error:
        return bad(str(error), "correct `audio` in the configuration; `ecosight-edge devices` lists microphones")
    enough = threading.Event()
    listener = _Listener(round(LISTEN_S * source.sample_rate_hz), enough)

    def listen() -> None:
        try:
            source.run(listener, stop)
        except Exception as error:  # judged below, in the thread that reports
            failure.append(error)
        finally:
            enough.set()

    thread = threading.Thread(target=listen, name="doctor-microphone", daemon=True)
    thread.start()
    began_s = time.monotonic()
    enough.wait(OPEN_TIMEOUT_S + LISTEN_S)
    stop.set()
    thread.join(CLOSE_TIMEOUT_S)
    what = source.description
    if listener.frames:
        return judge(np.concatenate(listener.blocks), source.sample_rate_hz, what)
    if held:
        return doubtful(f"{what}: the running daemon holds it", stop_it)
    if failure:
        step = "plug it in; `ecosight-edge devices` prints what to put into audio.device"
        return bad(f"{what}: {failure[0]}", step)
    step = "unplug it and plug it in again; check whether another program holds it (`fuser -v /dev/snd/*`)"
    return bad(f"{what}: no samples in {time.monotonic() - began_s:.0f} s", step)


def judge(samples: NDArray[np.float32], sample_rate_hz: int, what: str) -> Outcome:
    """What ``samples`` (float32 ``[n]``, full scale ±1) say about the microphone."""
    peak = float(np.max(np.abs(samples)))
    rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    said = f"{what}, {sample_rate_hz} Hz"
    if peak == 0:
        step = "switch it on, unmute it (`alsamixer`), check that audio.channel is the one that is wired"
        return bad(f"{said}: silent, every sample is zero", step)
    if float(np.ptp(samples)) < CONSTANT_PEAK_TO_PEAK:
        return bad(f"{said}: stuck at the constant value {samples[0]:.4f}", "replace the microphone or its cable")
    level = f"{said}: level {_dbfs(rms):.1f} dBFS, peak {_dbfs(peak):.1f} dBFS"
    if _dbfs(rms) < QUIET_DBFS:
        return doubtful(f"{level}: very quiet", "clap beside it and try again; raise the gain (`alsamixer`)")
    if float(np.mean(np.abs(samples) >= 0.999)) > CLIPPED_SHARE:
        return doubtful(f"{level}: clipped", "lower the gain (`alsamixer`)")
    return good(level)


def _dbfs(value: float) -> float:
    return 20 * float(np.log10(max(value, 1e-10)))
