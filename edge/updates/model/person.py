"""What a person on the device asks of the model that came over the air: a small file that the daemon sees and answers.

    ask(state_dir, "rollback")      # by the command line
    taken = take(state_dir)         # by the daemon; None: nobody asks
    answer(state_dir, taken, True, "gun-shot 6 listens")

Without a daemon the file waits for the next start.
"""

import os
import time
import uuid
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from edge.durable import commit_bytes, make_folder
from edge.updates.model.state import folder

Action = Literal["rollback", "pin", "unpin", "update"]
REQUEST, ANSWER = "request.json", "answer.json"
LARGEST_BYTES = 4096
LOOK_S = 0.1


class Wish(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    action: Action


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    ok: bool
    text: str


def ask(state_dir: Path, action: Action) -> Wish:
    """Put the wish down. Raises OSError: this user may not write there, or the disk is full."""
    wish = Wish(id=uuid.uuid4().hex, action=action)
    place = folder(state_dir)
    if not place.exists():
        make_folder(place)
        owner = state_dir.stat()
        if os.geteuid() == 0:  # the daemon must be able to write here
            os.chown(place, owner.st_uid, owner.st_gid)
    commit_bytes(place / REQUEST, wish.model_dump_json().encode())
    return wish


def wait_for(state_dir: Path, wish: Wish, timeout_s: float) -> Answer | None:
    """The daemon's answer; None if it did not come in time."""
    until_s = time.monotonic() + timeout_s
    while time.monotonic() < until_s:
        try:
            found = Answer.model_validate_json((folder(state_dir) / ANSWER).read_bytes())
            if found.id == wish.id:
                return found
        except (OSError, ValidationError):
            pass
        time.sleep(LOOK_S)
    return None


def take(state_dir: Path) -> Wish | None:
    """By the daemon: the wish, which is then gone from the disk. Never raises."""
    path = folder(state_dir) / REQUEST
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES)
        path.unlink()
        return Wish.model_validate_json(content)
    except (OSError, ValidationError):
        return None


def answer(state_dir: Path, wish: Wish, ok: bool, text: str) -> None:
    """By the daemon. Never raises: whoever waits is told that no answer came."""
    try:
        said = Answer(id=wish.id, ok=ok, text=text)
        temporary = folder(state_dir) / f".{ANSWER}"
        temporary.write_bytes(said.model_dump_json().encode())
        temporary.replace(folder(state_dir) / ANSWER)
    except OSError:
        pass
