"""Wheels into environments, without pip."""

import base64
import hashlib
import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edge.updates.program.filling import FillError, compile_share, fill, shares
from edge.updates.program.wheels import Wheel, wheel_of


def make(folder: Path, name: str, version: str, more: str = "", damaged: bool = False) -> Wheel:
    """A wheel of one module, with ``more`` lines of metadata, in ``folder``."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"def app():\n    print('{name} {version}')\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{more}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:app\n",
    }
    record = f"{info}/RECORD,,\n"
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(text.encode())}\n"
    if damaged:
        files[f"{name}.py"] += "# another byte\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(path, text)
    file = f"{name}-{version}-py3-none-any.whl"
    (folder / file).write_bytes(buffer.getvalue())
    return wheel_of(f"programs/wheels/{hashlib.sha256(buffer.getvalue()).hexdigest()}.{file}")


@pytest.fixture
def environment(tmp_path: Path, empty_environment: Path) -> Path:
    return Path(shutil.copytree(empty_environment, tmp_path / "environment", symlinks=True))


def test_what_is_installed_runs_is_compiled_and_is_known_by_its_metadata(tmp_path: Path, environment: Path) -> None:
    fill(environment, tmp_path, [make(tmp_path, "oak", "1.0", "Requires-Dist: elm>=2\n"), make(tmp_path, "elm", "2.1")])
    for share in shares(environment):
        compile_share(share)
    said = subprocess.run([environment / "bin" / "oak"], capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout == "oak 1.0\n"
    assert (environment / "bin" / "oak").read_text().startswith(f"#!{environment}/bin/python\n")
    asks = "from importlib.metadata import version; import elm; print(version('oak'), elm.__cached__)"
    python = [environment / "bin" / "python", "-I", "-c", asks]
    version, compiled = subprocess.run(python, capture_output=True, text=True, timeout=60, check=True).stdout.split()
    assert version == "1.0"
    assert Path(compiled).is_file()
    assert not (environment / "bin" / "pip").exists(), "nobody in there would ask an index"


def test_a_wheel_that_is_not_the_one_that_was_signed_is_not_unpacked(tmp_path: Path, environment: Path) -> None:
    wheel = make(tmp_path, "oak", "1.0")
    make(tmp_path, "oak", "1.0", "Summary: another\n")
    with pytest.raises(FillError, match="not the file that was signed"):
        fill(environment, tmp_path, [wheel])
    assert not (environment / "bin" / "oak").exists()


def test_a_signed_wheel_that_contradicts_its_own_record_is_not_installed(tmp_path: Path, environment: Path) -> None:
    with pytest.raises(FillError, match="didn't match RECORD"):
        fill(environment, tmp_path, [make(tmp_path, "oak", "1.0", damaged=True)])


@pytest.mark.parametrize(
    ("needs", "why"),
    [
        ("Requires-Dist: elm>=3\n", "oak needs elm >=3, this is 2.1"),
        ("Requires-Dist: ash\n", "oak needs ash, which is not there"),
        ("Requires-Python: >=3.99\n", "oak needs Python >=3.99"),
        ("Requires-Dist: elm=>>3\n", "what oak needs cannot be read"),
    ],
)
def test_wheels_that_do_not_fit_together_are_refused(tmp_path: Path, environment: Path, needs: str, why: str) -> None:
    with pytest.raises(FillError, match=why):
        fill(environment, tmp_path, [make(tmp_path, "oak", "1.0", needs), make(tmp_path, "elm", "2.1")])


def test_what_only_extras_and_other_pythons_need_may_be_missing(tmp_path: Path, environment: Path) -> None:
    needs = "Provides-Extra: all\nRequires-Dist: ash; extra == 'all'\n"
    needs += f"Requires-Dist: fir; python_version < '3.{sys.version_info[1]}'\n"
    fill(environment, tmp_path, [make(tmp_path, "oak", "1.0", needs)])
