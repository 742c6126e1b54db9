import contextlib
import os
import tempfile
from pathlib import Path

import bsdiff4
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.detection.choice import SHIPPED
from edge.updates.fetching import deltas

SOME = st.binary(max_size=400)


def apply(old: bytes | None, delta: bytes, length: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        start, patch, new = (Path(folder) / name for name in ("old", "delta", "new"))
        start.write_bytes(old or b"")
        patch.write_bytes(delta)
        deltas.apply(None if old is None else start, patch, new, length)
        return new.read_bytes()


@settings(max_examples=150, deadline=None)
@given(SOME, SOME, SOME, SOME)
def test_what_bsdiff_makes_is_applied_exactly(a: bytes, b: bytes, c: bytes, new: bytes) -> None:
    for old, wanted in ((a + b + c, c + a + new + b), (a, new), (b"", new)):
        assert apply(old, bsdiff4.diff(old, wanted), len(wanted)) == wanted


def test_a_real_model_with_another_end_goes_over_the_air_in_little(tmp_path: Path) -> None:
    old = next(SHIPPED.glob("*.tflite")).read_bytes()
    new = old[:-40_000] + os.urandom(50_000)
    delta = deltas.make(old, new)
    assert delta is not None and len(delta) < 60_000
    assert apply(old, delta, len(new)) == new


def test_what_does_not_pay_is_not_made() -> None:
    assert deltas.make(os.urandom(5000), os.urandom(5000)) is None
    from_nothing = deltas.make(b"", b"forest " * 1000)
    assert from_nothing is not None and apply(None, from_nothing, 7000) == b"forest " * 1000


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_delta_is_an_error_or_another_file_and_never_longer_than_signed(data: st.DataObject) -> None:
    old, new = bytes(range(256)) * 8, bytes(range(255, -1, -1)) * 3 + bytes(range(256)) * 6
    delta = bytearray(bsdiff4.diff(old, new))
    at = data.draw(st.integers(0, len(delta) - 1))
    if data.draw(st.booleans()):
        delta[at] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del delta[at:]
    with contextlib.suppress(deltas.DeltaError):
        assert len(apply(old, bytes(delta), len(new))) <= len(new)


@pytest.mark.parametrize("at", [8, 15, 16, 23])
def test_sizes_beyond_all_files_are_refused(at: int) -> None:
    old, new = bytes(range(256)) * 8, bytes(range(255, -1, -1)) * 3 + bytes(range(256)) * 6
    delta = bytearray(bsdiff4.diff(old, new))
    delta[at] ^= 0x80
    with pytest.raises(deltas.DeltaError):
        apply(old, bytes(delta), len(new))


@pytest.mark.parametrize("delta", [b"", b"BSDIFF40", os.urandom(500), b"BSDIFF40" + bytes(24)])
def test_what_is_no_delta_is_refused(delta: bytes) -> None:
    with pytest.raises(deltas.DeltaError):
        apply(b"old", delta, 10)


def test_a_delta_that_makes_more_than_was_signed_is_refused() -> None:
    with pytest.raises(deltas.DeltaError, match="makes 5000 bytes, and the file has 4999"):
        apply(b"", bsdiff4.diff(b"", bytes(5000)), 4999)
