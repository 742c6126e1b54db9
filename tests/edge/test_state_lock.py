"""One daemon per state folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from edge.state_lock import AlreadyRunningError, held, hold


def test_lock_is_seen_by_others_while_it_is_held_and_only_then(tmp_path: Path) -> None:
    assert not held(tmp_path)
    lock = hold(tmp_path)
    assert held(tmp_path)
    with pytest.raises(AlreadyRunningError, match=f"{tmp_path} is in use by process"):
        hold(tmp_path)
    lock.close()
    assert not held(tmp_path)
    hold(tmp_path).close()


def test_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from edge.state_lock import hold;"
        "lock = hold(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    assert held(tmp_path)
    process.kill()
    process.wait()
    process.stdout.close()
    assert not held(tmp_path)
