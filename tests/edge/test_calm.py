import numpy as np
import pytest
from numpy.typing import NDArray

from edge.calm import Calm

RATE = 16_000
BLOCK = round(0.24 * RATE)


def blocks_of(sound: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    return [sound[at : at + BLOCK] for at in range(0, len(sound), BLOCK)]


def noise(blocks: int, seed: int = 0) -> NDArray[np.float32]:
    return (np.random.default_rng(seed).standard_normal(blocks * BLOCK) * 0.01).astype(np.float32)


def test_noise_is_calm_once_it_has_gone_on_for_a_window() -> None:
    calm = Calm(4)
    found = [calm.hear(block) for block in blocks_of(noise(500))]
    assert found == [False] * 4 + [True] * 496


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("offset", [0.0, 0.2])
def test_a_bang_is_no_calm_for_as_long_as_a_window_may_hold_it(sign: int, offset: float) -> None:
    sound = noise(20) + np.float32(offset)  # cheap sound cards have one
    sound[10 * BLOCK + 100] += sign * 0.1
    calm = Calm(4)
    found = [calm.hear(block) for block in blocks_of(sound)]
    assert found[4:] == [True] * 6 + [False] * 4 + [True] * 6


def test_a_weak_bang_counts_from_three_decibels_over_the_noise_on() -> None:
    def calm_with(bang: float) -> bool:
        calm = Calm(1)
        block = noise(1)
        calm.hear(block)
        calm.hear(block)
        span = float(block.max() - block.min())
        louder = block.copy()
        louder[1000] = block.min() + np.float32(bang * span)
        return calm.hear(louder)

    assert calm_with(1.40)
    assert not calm_with(1.43)


def test_what_grows_slowly_or_falls_is_calm() -> None:
    calm = Calm(4)
    swelling = noise(40) * np.repeat(10 ** (np.linspace(0, 40, 40) / 20), BLOCK).astype(np.float32)  # 1 dB a block
    assert all([calm.hear(block) for block in blocks_of(swelling)][4:])
    calm = Calm(4)
    assert all([calm.hear(block) for block in blocks_of(swelling[::-1].copy())][4:])


def test_after_silence_any_sound_is_new() -> None:
    calm = Calm(1)
    for _ in range(3):
        calm.hear(np.zeros(BLOCK, np.float32))
    assert not calm.hear(noise(1))
