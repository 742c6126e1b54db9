"""A new program's own doctor, beside the running daemon, before anything is switched.

    python -m edge.updates.program.trying TARGET ENVIRONMENT CONFIGURATION AGAIN…

The doctor takes more memory than any other step, and the updater, 24 MiB, would only wait for it. So it lets this
file, which needs the standard library alone, take its place; afterwards this one starts the updater again (``AGAIN``)
and says what it found. The updater goes on where it was: what it has built is on disk.
"""

import os
import pwd
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

SERVICE_USER = "ecosight"
TRY_S = 300.0
LONGEST_REFUSAL = 10_000


class RefusedError(RuntimeError):
    """The release is good, but not for this device, or it does not work on it. Not tried again."""


def try_beside(environment: Path, configuration: Path, variables: Mapping[str, str]) -> None:
    """Run it out of ``environment`` as the service's user, on what does not disturb the running daemon.

    Raises:
        RefusedError: it fails, does not start, or does not end. The text says what it said.
    """
    command = [str(environment / "bin" / "ecosight-edge"), "doctor", "--beside", "--config", str(configuration)]
    plain = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "COLUMNS": "200", "TERM": "dumb"}
    user, group, groups = _service_user()
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env={**plain, **variables},
            timeout=TRY_S,
            check=False,
            user=user,
            group=group,
            extra_groups=groups,
        )
    except subprocess.TimeoutExpired as error:
        raise RefusedError(f"the new program's doctor did not answer within {TRY_S:g} s") from error
    except OSError as error:
        raise RefusedError(f"the new program cannot be started: {error.strerror}") from error
    if done.returncode:
        table = (done.stdout + done.stderr).replace("│", " ").splitlines()
        said = [" ".join(line.split()) for line in table if "FAILS" in line]
        lines = said or (done.stderr or done.stdout).strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise RefusedError(f"the new program's doctor refuses: {' / '.join(lines)}")


def _service_user() -> tuple[int | None, int | None, list[int] | None]:
    """User, group and groups of a child that is to be the service's user, where we are root and that user exists."""
    if os.geteuid() != 0:
        return None, None, None
    try:
        user = pwd.getpwnam(SERVICE_USER)
    except KeyError:
        return None, None, None
    return user.pw_uid, user.pw_gid, os.getgrouplist(SERVICE_USER, user.pw_gid)


def in_my_place(target: str, environment: Path, configuration: Path, again: Sequence[str]) -> NoReturn:
    """End this process, and let `try_beside` be run under its number: see the module."""
    sys.stdout.flush()
    sys.stderr.flush()
    module = [sys.executable, "-I", "-m", "edge.updates.program.trying"]
    os.execv(sys.executable, [*module, target, str(environment), str(configuration), *again])  # noqa: S606


def main(target: str, environment: str, configuration: str, *again: str) -> NoReturn:
    refusal = ""
    try:
        try_beside(Path(environment), Path(configuration), {})
    except RefusedError as error:
        refusal = str(error).replace("\0", " ")[:LONGEST_REFUSAL] or "the new program's doctor refuses"
    os.execv(again[0], [*again, target, refusal])  # noqa: S606


if __name__ == "__main__":
    main(*sys.argv[1:])
