"""The crack of a supersonic bullet: a shock wave shaped like an N.

Its strength and length are those of Whitham ("The flow pattern of a supersonic projectile", Comm. Pure Appl. Math.,
1952), in the form that Sadler, Pham and Sadler give ("Optimal and wavelet-based shock wave detection and estimation",
J. Acoust. Soc. Am., 1998); where and when it is heard is the geometry of the Mach cone (Maher, "Modeling and signal
processing of acoustic gunshot recordings", IEEE 12th DSP Workshop, 2006). The bullet's speed is taken as constant.
"""

import numpy as np
from numpy.typing import NDArray

SPEED_OF_SOUND_MPS = 343.0
"""At 20 °C."""
AIR_PRESSURE_PA = 101_325.0


def n_wave(duration_s: float, sample_rate_hz: int) -> NDArray[np.float64]:
    """A shock wave: jump, linear fall through zero, jump back."""
    return np.linspace(1.0, -1.0, max(2, round(duration_s * sample_rate_hz)))


def n_wave_s(mach: float, calibre_m: float, bullet_m: float, miss_m: float) -> float:
    """Whitham's length of the wave, in seconds, ``miss_m`` from the path of a bullet of this calibre and length."""
    return float(
        1.82 * calibre_m * mach * miss_m**0.25 / (SPEED_OF_SOUND_MPS * (mach**2 - 1) ** 0.375 * bullet_m**0.25)
    )


def n_wave_pa(mach: float, calibre_m: float, bullet_m: float, miss_m: float) -> float:
    """Whitham's peak overpressure of the wave, in Pa."""
    return float(0.53 * AIR_PRESSURE_PA * calibre_m * (mach**2 - 1) ** 0.125 / (miss_m**0.75 * bullet_m**0.25))


def crack_lead_s(bullet_mps: float, distance_m: float, miss_m: float) -> float:
    """How long before the muzzle blast the crack arrives, for a bullet of constant speed passing at ``miss_m``.

    The crack leaves the trajectory where the Mach cone meets the microphone; its half angle is arcsin(1 / Mach).
    """
    along = float(np.sqrt(max(distance_m**2 - miss_m**2, 0.0)))
    mach = bullet_mps / SPEED_OF_SOUND_MPS
    crack_s = along / bullet_mps + miss_m / SPEED_OF_SOUND_MPS * float(np.sqrt(1 - 1 / mach**2))
    return max(0.0, distance_m / SPEED_OF_SOUND_MPS - crack_s)


def crack_is_heard(bullet_mps: float, distance_m: float, off_axis_rad: float) -> bool:
    """Whether the cone of a bullet fired ``off_axis_rad`` away from the microphone ever reaches it.

    It leaves the path ``miss / sqrt(Mach² - 1)`` before it passes by; that must be in front of the muzzle.
    """
    mach = bullet_mps / SPEED_OF_SOUND_MPS
    if mach <= 1.02 or off_axis_rad >= np.pi / 2:
        return False
    return bool(np.cos(off_axis_rad) >= np.sin(off_axis_rad) / np.sqrt(mach**2 - 1))
