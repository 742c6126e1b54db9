"""Human voices, made by the program ``espeak-ng``: in many languages, voices and moods, alone and several at once.

    samples = VOICES["shouting"](6.0, 16_000, random)         # float64 [96000], peak 1

They say syllables without a meaning: what is to be learned is a voice, not words. The program's output is sound that it
computes, no recording of anybody. What it lacks of a person it is given afterwards: each voice wavers, is larger or
smaller than the program's, and whoever shouts has a hard edge.

What is said depends on the generator; how it sounds also on the version of ``espeak-ng``.
"""

import io
import shutil
import subprocess
from collections.abc import Mapping

import numpy as np

from trainer.synthesis.grains import Texture
from trainer.synthesis.spectrum import Audio, peaked

PROGRAM = "espeak-ng"
INSTALL = "sudo apt-get install espeak-ng"
LANGUAGES = (
    "af", "ca", "cs", "cy", "da", "de", "en-gb", "en-us", "en-029", "es", "es-419", "et", "eu", "fi", "fr-fr", "ga",
    "gn", "hr", "ht", "hu", "id", "is", "it", "ku", "lt", "lv", "ms", "nl", "nb", "om", "pap", "pl", "pt", "pt-br",
    "qu", "ro", "sk", "sl", "sq", "sv", "sw", "tn", "tr", "vi",
)  # fmt: skip
"""Those that are written in Latin letters."""
SPEAKERS = (
    "m2", "m3", "m4", "m5", "m6", "m8", "f1", "f2", "f3", "f4", "f5", "Alex", "Alicia", "Annie", "Diogo", "Gene",
    "Gustave", "Henrique", "Hugo", "Nguyen", "Steph", "Steph2", "Zac", "adam", "aunty", "belinda", "caleb", "ed",
    "edward", "grandma", "grandpa", "john", "klatt", "klatt2", "klatt6", "linda", "max", "michel", "miguel", "mike",
    "norbert", "pablo", "paul", "pedro", "sandro", "shelby", "travis",
)  # fmt: skip
"""Those that YAMNet takes for a person: in the median of an utterance's windows its Speech is 0.6 or more."""
WHISPERERS = ("whisper", "whisperf")
CONSONANTS = (
    "b",
    "d",
    "f",
    "g",
    "h",
    "k",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "t",
    "v",
    "y",
    "z",
    "st",
    "tr",
    "br",
    "nd",
    "mb",
)
VOWELS = ("a", "e", "i", "o", "u", "ai", "ou", "ia", "")
TIMEOUT_S = 30.0


class SpeechError(OSError):
    """There is no program to speak with, or it failed. The text is for a person."""


def spoken(text: str, voice: str, pitch: int, words_per_minute: int, rate_hz: int) -> Audio:
    """``text`` as ``voice`` (``sw+f2``) says it, float64 [n], peak 1. ``pitch``: 0 to 99.

    Raises SpeechError.
    """
    import soundfile
    from scipy.signal import resample_poly

    if shutil.which(PROGRAM) is None:
        raise SpeechError(f"there is no {PROGRAM} to make voices with: {INSTALL}")
    command = [PROGRAM, "-v", voice, "-p", str(pitch), "-s", str(words_per_minute), "--stdout", "--", text]
    try:
        said = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=True).stdout
        samples, native_hz = soundfile.read(io.BytesIO(said), dtype="float64")
    except (subprocess.SubprocessError, soundfile.LibsndfileError) as error:
        raise SpeechError(f"{PROGRAM} does not speak as {voice}: {error}; is it whole? {INSTALL}") from error
    common = int(np.gcd(rate_hz, native_hz))
    return peaked(resample_poly(samples, rate_hz // common, native_hz // common))


def speech(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """One person talks."""
    voice = f"{_one_of(LANGUAGES, random)}+{_one_of(SPEAKERS, random)}"
    words = max(4, round(seconds * 2.6))
    said = spoken(_words(words, random), voice, int(random.integers(15, 85)), int(random.integers(110, 230)), rate_hz)
    return _fitted(_as_a_person(said, random, 0.85, 1.3), seconds, rate_hz, random)


def shouting(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """One person calls a few words, again and again."""
    voice = f"{_one_of(LANGUAGES, random)}+{_one_of(SPEAKERS, random)}"
    samples, at = round(seconds * rate_hz), int(random.uniform(0, 0.3) * rate_hz)
    out = np.zeros(samples)
    while at < samples:
        words = _words(int(random.integers(1, 4)), random, "!")
        said = spoken(words, voice, int(random.integers(65, 100)), int(random.integers(100, 200)), rate_hz)
        said = _as_a_person(said, random, 1.0, 1.35)
        # Who shouts presses: more of the high, and over the edge.
        pressed = said - random.uniform(0.5, 0.95) * np.concatenate([[0.0], said[:-1]])
        pressed = np.tanh(peaked(pressed) * random.uniform(1, 6))[: samples - at]
        out[at : at + len(pressed)] += pressed * random.uniform(0.5, 1)
        at += len(pressed) + int(random.uniform(0.1, 1.2) * rate_hz)
    return peaked(out)


def whispering(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """One person whispers."""
    voice = f"{_one_of(LANGUAGES, random)}+{_one_of(WHISPERERS, random)}"
    words = max(4, round(seconds * 2.6))
    said = spoken(_words(words, random), voice, int(random.integers(15, 85)), int(random.integers(100, 190)), rate_hz)
    return _fitted(_as_a_person(said, random, 0.85, 1.3), seconds, rate_hz, random)


def talk(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """Two to five people, some nearer than others, who let each other finish or do not."""
    out = np.zeros(round(seconds * rate_hz))
    for number in range(int(random.integers(2, 6))):
        some = seconds * random.uniform(0.3, 1.0)
        who = shouting if random.random() < 0.15 else speech
        said = who(some, rate_hz, random)[: len(out)]
        at = int(random.integers(len(out) - len(said) + 1))
        out[at : at + len(said)] += said * 10 ** ((random.uniform(-18, 0) if number else 0) / 20)
    return peaked(out)


VOICES: Mapping[str, Texture] = {"speech": speech, "shouting": shouting, "whispering": whispering, "talk": talk}
"""Every kind of voices by name. Each raises SpeechError without the program."""


def _words(count: int, random: np.random.Generator, end: str = ".") -> str:
    found = []
    for _ in range(count):
        syllables = int(random.integers(1, 4))
        word = "".join(_one_of(CONSONANTS, random) + _one_of(VOWELS[:-1], random) for _ in range(syllables))
        found.append(word + (_one_of(CONSONANTS, random)[0] if random.random() < 0.3 else ""))
        if random.random() < 0.12:
            found[-1] += _one_of((",", ".", "!", "?"), random)
    return " ".join(found).rstrip(",.!?") + end


def _as_a_person(said: Audio, random: np.random.Generator, lowest: float, highest: float) -> Audio:
    """Larger or smaller (all frequencies ``lowest`` to ``highest`` times as high), and wavering by some percent."""
    pace = float(random.uniform(lowest, highest))
    longest = int(len(said) / pace * 1.5) + 2
    knots = longest // 2400 + 2
    waver = np.interp(np.linspace(0, knots - 1, longest), np.arange(knots), random.normal(0, 0.05, knots))
    at = np.cumsum(pace * np.clip(1 + waver, 0.75, 1.25))
    return np.interp(at[at < len(said) - 1], np.arange(len(said)), said)


def _fitted(said: Audio, seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """A piece of ``said``, or all of it somewhere in silence."""
    samples = round(seconds * rate_hz)
    if len(said) >= samples:
        start = int(random.integers(len(said) - samples + 1))
        return peaked(said[start : start + samples])
    out = np.zeros(samples)
    at = int(random.integers(samples - len(said) + 1))
    out[at : at + len(said)] = said
    return peaked(out)


def _one_of(names: tuple[str, ...], random: np.random.Generator) -> str:
    return names[int(random.integers(len(names)))]
