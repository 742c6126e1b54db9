"""One at a time."""

import subprocess
import sys
from pathlib import Path

import pytest

from trainer.lock import AlreadyRunningError, only_one

HOLDS = """
import sys, time
from pathlib import Path
from trainer.lock import only_one
with only_one(Path(sys.argv[1]), "retrain"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_whoever_comes_second_is_told_who_runs_and_since_when(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDS, tmp_path], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    said = rf"already running on .*: retrain by .+ \(process {holder.pid} on .+\) since 20\d\d-\d\d-\d\dT.*; wait"
    with pytest.raises(AlreadyRunningError, match=said), only_one(tmp_path, "another"):
        pass
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with only_one(tmp_path, "another"):  # the crash has left nothing that is in the way
        pass


def test_it_is_free_again_afterwards_and_its_folder_is_made(tmp_path: Path) -> None:
    for _ in range(2):
        with only_one(tmp_path / "a" / "b", "x"):
            pass
