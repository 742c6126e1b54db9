"""The impulse response of a room: what walls send after a sound's first wavefront.

In a room of volume V the n-th reflection comes at about t = (3 V n / (4 π c³))^(1/3), so the first are single and the
later ones run together (Kuttruff, "Room Acoustics", 4.1); how fast they decay is Sabine's, 0.161 V / A seconds for
60 dB, A the surface times its absorption. Treble decays faster. The figures of the draws are choices: from a shed to a
hall.
"""

import numpy as np
from numpy.typing import NDArray

from trainer.synthesis.spectrum import between, noise

SPEED_MPS = 343.2
LONGEST_S = 1.2


def room_response(rate_hz: int, random: np.random.Generator) -> NDArray[np.float64]:
    """1 at sample 0, then the reflections of a drawn room, from 25 dB under the direct sound's energy to 6 dB over it,
    float64 [n]."""
    volume_m3 = float(np.exp(random.uniform(np.log(15), np.log(4000))))
    absorbed = random.uniform(0.08, 0.5)
    reverberation_s = 0.161 * volume_m3 / (absorbed * 6 * volume_m3 ** (2 / 3))
    length = max(64, round(min(0.8 * reverberation_s, LONGEST_S) * rate_hz))
    arrival_s = np.cbrt(3 * volume_m3 * np.arange(1, 61) / (4 * np.pi * SPEED_MPS**3)) * random.uniform(0.8, 1.2, 60)
    at = np.rint(arrival_s * rate_hz).astype(int)
    inside = at < length
    tail = np.zeros(length)
    np.add.at(tail, at[inside], (random.choice((-1.0, 1.0), 60) * arrival_s[0] / arrival_s)[inside])
    late = noise(length, rate_hz, between(60, random.uniform(1500, 6000), 1), random)
    # As strong as the reflections where these end.
    late[: int(at.max())] *= np.linspace(0, 1, int(at.max()))[:length]
    tail += float(arrival_s[0] / arrival_s[-1]) * late * random.uniform(0.3, 1.0)
    tail *= 10 ** (-3 * np.arange(length) / rate_hz / reverberation_s)
    tail *= 10 ** (random.uniform(-25, 6) / 20) / max(float(np.sqrt(np.sum(np.square(tail)))), 1e-12)
    tail[0] = 1.0
    return tail
