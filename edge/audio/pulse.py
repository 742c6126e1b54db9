"""The name under which a sound server (PulseAudio, PipeWire) knows an ALSA card."""

import json
import subprocess
from typing import Any

from edge.audio.source import SourceError, SourceLost


def source_of(card_number: int) -> str:
    """The server's source for ALSA card ``card_number``.

    Raises:
        SourceLost: no server, or it does not know the card.
        SourceError: the program pactl is missing.
    """
    try:
        done = subprocess.run(
            ["pactl", "--format=json", "list", "sources"], capture_output=True, timeout=10, check=False
        )
    except FileNotFoundError as error:
        raise SourceError(
            "to choose a microphone of a sound server, the program pactl is needed; install pulseaudio-utils",
            "no_pactl",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise SourceLost("server_lost", "the sound server does not answer") from error
    if done.returncode:
        raise SourceLost("server_lost", done.stderr.decode(errors="replace").strip())
    return choose(json.loads(done.stdout), card_number)


def choose(sources: list[dict[str, Any]], card_number: int) -> str:
    """The capture source among what ``pactl list sources`` says (monitors of loudspeakers are no microphones)."""
    for source in sources:
        properties = source.get("properties", {})
        if properties.get("alsa.card") == str(card_number) and properties.get("device.class") != "monitor":
            return str(source["name"])
    raise SourceLost("not_found", f"the sound server does not know sound card {card_number}")
