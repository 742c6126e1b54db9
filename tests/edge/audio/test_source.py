from hypothesis import given
from hypothesis import strategies as st

from edge.audio.source import BLOCK_S, block_s_for


def test_a_block_is_as_long_as_the_usual_hop() -> None:
    assert block_s_for(0.24) == 0.24


@given(hundredths=st.integers(6, 96))
def test_every_hop_is_a_whole_number_of_blocks_none_longer_than_the_longest(hundredths: int) -> None:
    hop_s = hundredths / 100
    block_s = block_s_for(hop_s)
    assert block_s <= BLOCK_S + 1e-12
    assert abs(hop_s / block_s - round(hop_s / block_s)) < 1e-9
    assert block_s > BLOCK_S / 2 or hop_s <= BLOCK_S, "and not shorter than it must be"
