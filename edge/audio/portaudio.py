"""PortAudio, opened afresh: its list of devices is made when it starts and never changes afterwards.

``sounddevice`` is imported only here, and only for a microphone: importing it starts PortAudio, which opens
every device that ALSA's configuration lists.
"""

import ctypes
import os
import sys
from pathlib import Path
from typing import Any, Literal

CONFIGURATIONS = {
    "hardware": Path(__file__).with_name("alsa_hardware.conf"),
    "pulse": Path(__file__).with_name("alsa_pulse.conf"),
}
View = Literal["hardware", "pulse", "system"]


def fresh(view: View) -> Any:
    """The module ``sounddevice`` with PortAudio (re)started, so that it knows the devices of this moment.

    Args:
        view: which of ALSA's devices it sees: hardware alone, a sound server alone, or all that the system
            configures (which loads every plugin into memory).

    Raises:
        OSError: the PortAudio library is not installed.
    """
    configuration = CONFIGURATIONS.get(view)
    # A variable that a person has set stays.
    ours = os.environ.get("ALSA_CONFIG_PATH") in (None, *map(str, CONFIGURATIONS.values()))
    if ours and configuration is not None:
        os.environ["ALSA_CONFIG_PATH"] = str(configuration)
    elif ours:
        os.environ.pop("ALSA_CONFIG_PATH", None)
    _silence_alsa()
    known = "sounddevice" in sys.modules
    import sounddevice

    if known:
        stop(sounddevice)
        sounddevice._initialize()
    return sounddevice


def stop(sounddevice: Any) -> None:
    """Stop PortAudio, however often it was started."""
    while sounddevice._initialized:
        sounddevice._terminate()


def _silence_alsa() -> None:
    """ALSA prints a page to standard error at each look for devices; repeated for ever, that wears an SD card.

    Its error handler is replaced by a function that ignores its arguments. A callback into Python would do too,
    but ``getpid`` needs no memory that is both writable and executable.
    """
    try:
        alsa = ctypes.CDLL("libasound.so.2")
        alsa.snd_lib_error_set_handler(ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p))
    except (OSError, AttributeError):
        pass
