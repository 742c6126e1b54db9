"""Commands that come over MQTT: checked, carried out once, always answered.

    commands = Commands(settings, outbox, clock.now, Actions(status=…, drill=…, record=…, restart=…, …))
    response = commands.handle(payload, retained=False, message_expiry_s=60)

A command is refused when it is retained, oversized, malformed, unknown, late, or more than a day early; a
repeat of an id gets the answer of the first time. Lateness needs a set clock. Without one, only a command with
an MQTT 5 message expiry is taken: the broker has counted its waiting time, and would have dropped a late one.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from edge.delivery.messages import Command, Identifier, Moment, Response
from edge.delivery.outbox import Outbox
from edge.detection.marks import MarkError
from edge.settings import EdgeSettings

log = logging.getLogger(__name__)

LARGEST_COMMAND_BYTES = 16_384
EARLIEST = timedelta(days=1)
"""A command that says it will be good for longer would defeat the expiry."""
COMMANDS_PER_MINUTE = 30
"""Each costs an fsync on an SD card."""
RECORDING_BUDGET = "remote_recording_s"

Result = dict[str, Any]
Verdict = Literal["false", "shot"]


@dataclass(frozen=True, slots=True)
class Actions:
    """What commands do. They run on the sender's thread: they start things and return."""

    status: Callable[[], Result]
    drill: Callable[[], Result]
    """Sends a test alert through the whole path."""
    record: Callable[[float], Result]
    """Records for so many seconds; the clip passes the privacy gate like any other."""
    restart: Callable[[], Result]
    """Asks for a restart, soon: the answer must still get out."""
    upload: Callable[[str], str]
    """Asks for the clip of an alert; returns why it will not be uploaded, empty if it will."""
    mark: Callable[[str, Verdict], Result]
    """Takes a ranger's word for what an alert was. Raises MarkError."""
    update: Callable[[], Result]
    """Looks for updates now, and tries again what failed here."""


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Record(_Arguments):
    duration_s: float = Field(gt=0, allow_inf_nan=False)


class _Upload(_Arguments):
    alert_id: Identifier


class _Mark(_Arguments):
    alert_id: Identifier
    verdict: Verdict


A = TypeVar("A", bound=_Arguments)


class Refused(Exception):  # noqa: N818 -- a decision, not a fault
    """The command is not carried out. The text is the answer."""


class Commands:
    """See the module. Called from one thread."""

    def __init__(self, settings: EdgeSettings, outbox: Outbox, now: Callable[[], Moment], actions: Actions) -> None:
        self._settings = settings
        self._outbox = outbox
        self._now = now
        self._actions = actions
        self._recent_s: deque[float] = deque(maxlen=COMMANDS_PER_MINUTE)
        self.rejected = 0
        """Commands that were refused since the start, for ``health``."""

    def handle(self, payload: bytes, retained: bool = False, message_expiry_s: int | None = None) -> Response:
        """Carry out the command in ``payload`` if it is in order. Never raises on what a sender can do.

        The response's ``id`` is empty where none could be read.
        """
        try:
            command = _parse(payload, retained)
        except Refused as refusal:
            return self._reject(_readable_id(payload), "", refusal)
        try:
            self._check_time(command, message_expiry_s)
            self._check_rate()
        except Refused as refusal:
            return self._reject(command.id, command.command, refusal)
        if not self._outbox.begin_command(command.id):
            log.info("command %s (%s) was seen before: not carried out again", command.id, command.command)
            error = "was begun before and did not come to an answer (the daemon was restarted)"
            lost = Response(id=command.id, command=command.command, ok=False, error=error)
            return self._outbox.answer(command.id) or lost
        try:
            result = self._carry_out(command)
            log.info("command %s (%s) was carried out", command.id, command.command)
            response = Response(id=command.id, command=command.command, ok=True, result=result)
        except Refused as refusal:
            response = self._reject(command.id, command.command, refusal)
        except Exception as error:
            log.exception("command %s (%s) failed", command.id, command.command)
            text = f"failed: {type(error).__name__}: {error}"
            response = Response(id=command.id, command=command.command, ok=False, error=text)
        self._outbox.end_command(response)
        return response

    def _carry_out(self, command: Command) -> Result:
        match command.command:
            case "status":
                _arguments(_Arguments, command)
                return self._actions.status()
            case "drill":
                _arguments(_Arguments, command)
                return self._actions.drill()
            case "restart":
                _arguments(_Arguments, command)
                return self._actions.restart()
            case "update":
                _arguments(_Arguments, command)
                return self._actions.update()
            case "upload":
                alert_id = _arguments(_Upload, command).alert_id
                if refusal := self._actions.upload(alert_id):
                    raise Refused(refusal)
                return {"alert_id": alert_id}
            case "mark":
                mark = _arguments(_Mark, command)
                try:
                    return self._actions.mark(mark.alert_id, mark.verdict)
                except MarkError as error:
                    raise Refused(str(error)) from error
            case "record":
                return self._record(_arguments(_Record, command).duration_s)

    def _record(self, duration_s: float) -> Result:
        limits = self._settings.recording
        if not limits.remote:
            raise Refused("remote recording is switched off on this device (recording.remote)")
        if duration_s > limits.max_s:
            raise Refused(f"{duration_s:g} s is longer than recording.max_s, {limits.max_s:g} s")
        day = self._now().utc.date()
        if not self._outbox.spend(RECORDING_BUDGET, day, duration_s, limits.per_day_s):
            left_s = limits.per_day_s - self._outbox.spent(RECORDING_BUDGET, day)
            raise Refused(f"{left_s:g} s of recording.per_day_s, {limits.per_day_s:g} s, are left today")
        log.warning("recording %g s by remote command", duration_s)
        return self._actions.record(duration_s)

    def _check_time(self, command: Command, message_expiry_s: int | None) -> None:
        now = self._now()
        if not now.clock_synchronised:
            if message_expiry_s is None:
                raise Refused(
                    "this device's clock is not set, so it cannot tell whether the command is late;"
                    " send it with an MQTT 5 message expiry"
                )
            return
        if command.expires < now.utc:
            raise Refused(f"expired at {command.expires.isoformat()}; here it is {now.utc.isoformat()}")
        if command.expires > now.utc + EARLIEST:
            raise Refused("expires more than a day from now")

    def _check_rate(self) -> None:
        now_s = time.monotonic()
        if len(self._recent_s) == COMMANDS_PER_MINUTE and now_s - self._recent_s[0] < 60:
            raise Refused(f"more than {COMMANDS_PER_MINUTE} commands in a minute")
        self._recent_s.append(now_s)

    def _reject(self, command_id: str, command: str, refusal: Refused) -> Response:
        self.rejected += 1
        log.warning("command %s (%s) refused: %s", command_id or "without id", command or "unknown", refusal)
        return Response(id=command_id, command=command, ok=False, error=f"refused: {refusal}")


def _parse(payload: bytes, retained: bool) -> Command:
    if retained:
        raise Refused("retained; a command must never be retained")
    if len(payload) > LARGEST_COMMAND_BYTES:
        raise Refused(f"{len(payload)} bytes; at most {LARGEST_COMMAND_BYTES} are read")
    try:
        return Command.model_validate_json(payload)
    except ValidationError as error:
        raise Refused(_explain(error)) from error


def _arguments(kind: type[A], command: Command) -> A:
    try:
        return kind.model_validate(command.arguments)
    except ValidationError as error:
        raise Refused(f"arguments: {_explain(error)}") from error


def _explain(error: ValidationError) -> str:
    # The input itself is not repeated: it may be hostile, and long.
    parts = [f"{'.'.join(str(key)[:40] for key in e['loc'])}: {e['msg'][:120]}".lstrip(": ") for e in error.errors()]
    return "; ".join(parts[:3])


def _readable_id(payload: bytes) -> str:
    if len(payload) > LARGEST_COMMAND_BYTES:
        return ""
    try:
        tree = from_json(payload)
        return TypeAdapter(Identifier).validate_python(tree["id"])
    except (ValueError, TypeError, KeyError, IndexError):
        return ""
