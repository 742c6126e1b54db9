"""Air and ground: the figures of the standard and of the papers."""

import numpy as np
import pytest

from trainer.synthesis.air import Weather, absorption_db_per_m
from trainer.synthesis.ground import faddeeva, ground_gain

MIDBANDS_HZ = 1000 * 10 ** (0.3 * np.arange(-4, 5))


def test_air_takes_what_the_tables_of_the_standard_say() -> None:
    # 20 °C and 70 %, the same table; 16 kHz is the formula's own.
    warm = 1000 * absorption_db_per_m(MIDBANDS_HZ)
    assert warm == pytest.approx((0.1, 0.3, 1.1, 2.8, 5.0, 9.0, 22.9, 76.6, 276.2), abs=0.06)
    # ISO 9613-2, table 2: 10 °C and 70 %, 15 °C and 20 %.
    cold = 1000 * absorption_db_per_m(MIDBANDS_HZ[:-1], Weather(10, 70))
    assert cold == pytest.approx((0.1, 0.4, 1.0, 1.9, 3.7, 9.7, 32.8, 117.0), rel=0.005, abs=0.06)
    dry = 1000 * absorption_db_per_m(MIDBANDS_HZ[:-1], Weather(15, 20))
    assert dry == pytest.approx((0.3, 0.6, 1.2, 2.7, 8.2, 28.2, 88.8, 202.0), rel=0.005, abs=0.06)


def test_sound_is_faster_in_warm_air() -> None:
    assert Weather(0).speed_of_sound_mps == pytest.approx(331.3, abs=0.1)
    assert Weather(30).speed_of_sound_mps == pytest.approx(349.0, abs=0.1)


def test_the_error_function_of_the_ground_wave_has_its_known_values() -> None:
    # Abramowitz and Stegun, table 7.9.
    z = np.array([0, 1j, 1, 1 + 1j])
    wanted = [1, 0.427584, 0.367879 + 0.607158j, 0.304744 + 0.208219j]
    assert faddeeva(z) == pytest.approx(np.array(wanted), abs=1e-6)


def test_hard_ground_doubles_the_bass_and_combs_the_treble() -> None:
    frequency = np.linspace(20, 8000, 4000)
    gain = ground_gain(frequency, 50, 1.5, 3, flow_resistivity=1e7)
    assert gain[0] == pytest.approx(2, abs=0.05)
    # The reflection comes 2 h h' / d = 0.18 m later: it cancels where that is half a wave.
    longer = np.hypot(50, 4.5) - np.hypot(50, 1.5)
    assert frequency[int(np.argmin(gain[:800]))] == pytest.approx(343.2 / longer / 2, rel=0.03)


def test_litter_takes_the_middle_out_of_a_far_sound() -> None:
    bass, middle = ground_gain(np.array([40.0, 400.0]), 200, 1.5, 3, flow_resistivity=30)
    assert 20 * np.log10(bass) > 0
    assert 20 * np.log10(middle) < -8


def test_less_coherence_fills_the_notches() -> None:
    frequency = np.linspace(50, 4000, 500)
    deep, shallow = (ground_gain(frequency, 100, 1.5, 2, 30, coherence).min() for coherence in (1.0, 0.5))
    assert deep < 0.25 < shallow
