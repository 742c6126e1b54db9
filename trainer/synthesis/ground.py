"""What the ground adds to a sound and takes from it, on its way from a source to a microphone above it.

The reflected sound is that of the mirrored source, with the spherical-wave reflection coefficient: near grazing, a
plane wave would be cancelled altogether; the ground wave fills what is missing (Chien and Soroka, "A note on the
calculation of sound propagation along an impedance surface", J. Sound Vib., 1980). The impedance of the soil is the
one-parameter model of Delany and Bazley ("Acoustical properties of fibrous absorbent materials", Applied Acoustics,
1970) as Embleton, Piercy and Daigle use it for soils ("Effective flow resistivity of ground surfaces determined by
acoustical measurements", J. Acoust. Soc. Am., 1983): 10 to 80 kPa s/m² for a forest's litter, 100 to 300 for
grassland, 1000 to 4000 for a trodden track. Over litter some 10 dB go missing between 200 and 800 Hz.
"""

import numpy as np
from numpy.typing import NDArray

Complex = NDArray[np.complex128]


def ground_gain(
    frequency_hz: NDArray[np.float64],
    distance_m: float,
    source_m: float,
    microphone_m: float,
    flow_resistivity: float,
    coherence: float = 1.0,
    speed_mps: float = 343.2,
) -> NDArray[np.float64]:
    """Amplitude with ground over that without, float64 of the shape of ``frequency_hz``: 0 to about 2.

    Heights are in metres above the ground, ``flow_resistivity`` in kPa s/m². ``coherence`` is the part of the
    reflected sound that still fits the direct one in phase: turbulence, leaves and rough ground lower it.
    """
    frequency = np.maximum(np.asarray(frequency_hz, dtype=np.float64), 1.0)
    direct = float(np.hypot(distance_m, source_m - microphone_m))
    mirrored = float(np.hypot(distance_m, source_m + microphone_m))
    sine = (source_m + microphone_m) / mirrored
    wavenumber = 2 * np.pi * frequency / speed_mps
    # Time goes as exp(-i ω t) here, as in the papers.
    ratio = frequency / flow_resistivity
    admittance = 1 / (1 + 9.08 * ratio**-0.75 + 11.9j * ratio**-0.73)
    plane = (sine - admittance) / (sine + admittance)
    numerical_distance = 0.5 * (1 + 1j) * np.sqrt(wavenumber * mirrored) * (sine + admittance)
    ground_wave = 1 + 1j * np.sqrt(np.pi) * numerical_distance * faddeeva(numerical_distance)
    reflected = plane + (1 - plane) * ground_wave
    heard = 1 + coherence * direct / mirrored * reflected * np.exp(1j * wavenumber * (mirrored - direct))
    return np.asarray(np.abs(heard))


def faddeeva(z: Complex, terms: int = 24) -> Complex:
    """w(z) = exp(-z²) erfc(-i z) for Im z >= 0, complex128 of the shape of ``z``, to about 1e-8.

    Weideman, "Computation of the complex error function", SIAM J. Numer. Anal., 1994.
    """
    half = 2 * terms
    scale = np.sqrt(terms / np.sqrt(2))
    t = scale * np.tan(np.arange(-half + 1, half) * np.pi / half / 2)
    sampled = np.concatenate([[0.0], np.exp(-np.square(t)) * (scale**2 + np.square(t))])
    coefficients = np.real(np.fft.fft(np.fft.fftshift(sampled)))[terms:0:-1] / (2 * half)
    root = scale - 1j * np.asarray(z)
    mapped = (scale + 1j * np.asarray(z)) / root
    return np.asarray(2 * np.polyval(coefficients, mapped) / root**2 + 1 / np.sqrt(np.pi) / root)
