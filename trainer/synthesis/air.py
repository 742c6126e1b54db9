"""What air takes of a sound: absorption by ISO 9613-1:1993, "Attenuation of sound during propagation outdoors",
part 1, equations 3 to 5 and B.1 to B.3. Spreading is no part of it: that is only a level, 6 dB a doubling.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_REFERENCE_KPA, _REFERENCE_K, _TRIPLE_POINT_K = 101.325, 293.15, 273.16


@dataclass(frozen=True)
class Weather:
    """The air between the sound and the microphone; the defaults are those of a warm forest."""

    temperature_c: float = 20.0
    humidity_percent: float = 70.0
    """Relative humidity."""
    pressure_kpa: float = _REFERENCE_KPA

    @property
    def speed_of_sound_mps(self) -> float:
        """Of dry air as an ideal gas (ISO 9613-1, annex A); 343.2 m/s at 20 °C."""
        return 343.2 * float(np.sqrt((self.temperature_c + 273.15) / _REFERENCE_K))


def absorption_db_per_m(frequency_hz: NDArray[np.float64], weather: Weather = Weather()) -> NDArray[np.float64]:
    """Loss of a pure tone in dB a metre, float64 of the shape of ``frequency_hz``.

    The standard holds it exact to 10 % from 50 Hz to 10 kHz, -20 to 50 °C; it is continued beyond.
    """
    kelvin = weather.temperature_c + 273.15
    warmth, pressure = kelvin / _REFERENCE_K, weather.pressure_kpa / _REFERENCE_KPA
    saturation = 10 ** (-6.8346 * (_TRIPLE_POINT_K / kelvin) ** 1.261 + 4.6151)
    vapour = weather.humidity_percent * saturation / pressure
    """Molar concentration of water vapour, percent."""
    oxygen_hz = pressure * (24 + 4.04e4 * vapour * (0.02 + vapour) / (0.391 + vapour))
    nitrogen_hz = pressure * warmth**-0.5 * (9 + 280 * vapour * np.exp(-4.170 * (warmth ** (-1 / 3) - 1)))
    squared = np.square(np.asarray(frequency_hz, dtype=np.float64))
    relaxation = 0.01275 * np.exp(-2239.1 / kelvin) / (oxygen_hz + squared / oxygen_hz) + 0.1068 * np.exp(
        -3352.0 / kelvin
    ) / (nitrogen_hz + squared / nitrogen_hz)
    return np.asarray(8.686 * squared * (1.84e-11 / pressure * warmth**0.5 + warmth**-2.5 * relaxation))
