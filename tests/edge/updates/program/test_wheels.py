"""Which wheels of a wheelhouse a device takes, by their names alone."""

import pytest

from edge.updates.program.wheels import WheelError, needed, wheel_of

DIGEST = "0123456789abcdef" * 4


def target(file: str) -> str:
    return f"programs/wheels/{DIGEST}.{file}"


NUMPY_311 = target("numpy-2.4.6-cp311-cp311-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl")
NUMPY_313 = target("numpy-2.4.6-cp313-cp313-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl")
NUMPY_X86 = target("numpy-2.4.6-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl")
CRYPTOGRAPHY = target("cryptography-50.0.2-cp311-abi3-manylinux_2_34_aarch64.whl")
SOXR_OLD = target("soxr-1.1.0-cp312-abi3-manylinux2014_aarch64.manylinux_2_17_aarch64.whl")
SOXR_311 = target("soxr-1.1.0-cp311-cp311-manylinux2014_aarch64.manylinux_2_17_aarch64.whl")
OURS = target("ecosight-0.1.0-py3-none-any.whl")
SIX = target("six-1.17.0-py2.py3-none-any.whl")


def test_a_device_takes_only_what_its_own_python_installs() -> None:
    house = [NUMPY_311, NUMPY_313, CRYPTOGRAPHY, SOXR_OLD, SOXR_311, OURS, SIX]
    assert {wheel.target for wheel in needed(house, "aarch64", (3, 11))} == {
        NUMPY_311,
        CRYPTOGRAPHY,
        SOXR_311,
        OURS,
        SIX,
    }
    assert {wheel.target for wheel in needed(house, "aarch64", (3, 13))} == {
        NUMPY_313,
        CRYPTOGRAPHY,
        SOXR_OLD,
        OURS,
        SIX,
    }


def test_a_python_that_the_wheelhouse_does_not_serve_is_named_with_those_that_it_does() -> None:
    with pytest.raises(WheelError, match=r"nothing for Python 3\.12 on aarch64: numpy is there for cp311, cp313 only"):
        needed([NUMPY_311, NUMPY_313, OURS], "aarch64", (3, 12))


def test_wheels_of_another_machine_are_of_no_use() -> None:
    with pytest.raises(WheelError, match="on aarch64: numpy"):
        needed([NUMPY_X86, OURS], "aarch64", (3, 11))


def test_a_stable_wheel_of_a_later_python_does_not_fit() -> None:
    assert not wheel_of(SOXR_OLD).fits((3, 11), "aarch64")
    assert wheel_of(SOXR_OLD).fits((3, 14), "aarch64")


def test_two_versions_of_one_project_are_refused() -> None:
    with pytest.raises(WheelError, match=r"ecosight 0\.1\.0 and 0\.2\.0"):
        needed([OURS, target("ecosight-0.2.0-py3-none-any.whl")], "aarch64", (3, 11))


@pytest.mark.parametrize(
    "path",
    [
        "programs/wheels/short.six-1.17.0-py3-none-any.whl",
        f"models/{DIGEST}.six-1.17.0-py3-none-any.whl",
        target("six-1.17.0.tar.gz"),
        target("../six-1.17.0-py3-none-any.whl"),
        target("six-1.17.0-py3-none-any.whl\n"),
        target("six-1.17.0 --pre-py3-none-any.whl"),
    ],
)
def test_what_is_no_wheel_of_a_wheelhouse_is_refused(path: str) -> None:
    with pytest.raises(WheelError, match="expected programs/wheels"):
        wheel_of(path)
