"""Wheelhouses: what can be said without a network."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge.updates.program.wheels import WheelError
from trainer.cli import app
from trainer.release.wheelhouse import Made

REPOSITORY = Path(__file__).resolve().parents[3]


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["release", "wheelhouse", *map(str, arguments)])
    return done.exit_code, done.output


def test_mistakes_are_named_before_anything_is_downloaded(tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "file").touch()
    new = tmp_path / "new"
    for arguments, said in (
        ([full, "--source", REPOSITORY], f"{full} is not empty"),
        ([new, "--source", tmp_path], "constraints.txt is missing"),
        ([new, "--source", REPOSITORY, "--machine", "riscv64"], "--machine riscv64: expected"),
        ([new, "--source", REPOSITORY, "--python", "three"], "--python three: expected versions"),
        ([new, "--source", REPOSITORY, "--wheel", tmp_path / "absent.whl"], "there is no such wheel"),
    ):
        code, output = run(*arguments)
        assert code == 1
        assert said in output.replace("\n", " ")


def test_what_a_device_downloads_is_what_its_python_needs(tmp_path: Path) -> None:
    for name, size in (
        ("ecosight-1.0-py3-none-any.whl", 1),
        ("numpy-2.0-cp311-cp311-manylinux_2_28_aarch64.whl", 10),
        ("numpy-2.0-cp313-cp313-manylinux_2_28_aarch64.whl", 100),
    ):
        (tmp_path / name).write_bytes(bytes(size))
    made = Made({"aarch64": tmp_path})
    assert made.bytes_for("aarch64", (3, 11)) == 11
    assert made.bytes_for("aarch64", (3, 13)) == 101
    with pytest.raises(WheelError):
        made.bytes_for("aarch64", (3, 12))
