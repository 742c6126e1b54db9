"""From whatever went wrong to one of the codes of ``offer.py``."""

import errno

from edge.redaction import without_passwords
from edge.updates.fetching.light_tuf import exceptions
from edge.updates.offer import Code, Failure, Kind

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FOR_ONE_KIND: tuple[Code, ...] = ("floor", "untrusted", "too_large", "not_found")


class Refusal(Exception):  # noqa: N818 -- nothing is broken: the device says no
    """This device does not do what it was asked."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code: Code = code


def explain(error: Exception, kind: Kind | None = None) -> Failure:
    """What the process says of an error.

    Raises:
        Exception: ``error`` itself, where it is a defect of the program and nothing else.
    """
    code = _code(error)
    if code is None:
        raise error
    cause = error.__cause__
    text = str(error) or type(error).__name__
    if cause is not None and str(cause) and str(cause) not in text:
        text = f"{text}: {cause}"
    return Failure(code=code, text=without_passwords(text), retry=code != "misconfigured", kind=kind)


def concerns_one_kind(error: Exception) -> bool:
    """Whether the others may still be had: the link, the disk and the metadata are as they should be."""
    return _code(error) in _FOR_ONE_KIND


def _code(error: Exception) -> Code | None:
    match error:
        case Refusal():
            return error.code
        case exceptions.ExpiredMetadataError():
            return "expired"
        case exceptions.SlowRetrievalError():
            return "slow"
        case exceptions.DownloadLengthMismatchError():
            return "too_large"
        case exceptions.DownloadHTTPError():
            return "no_network" if is_passing(error) else "not_found"
        case exceptions.DownloadError():
            return "no_network"
        case exceptions.RepositoryError():
            return "untrusted"
        case OSError():
            return "disk_full" if is_full(error) else "disk"
        case _:
            return None


def is_full(error: OSError) -> bool:
    """Whether it is about room."""
    return error.errno in _FULL


def is_passing(error: exceptions.DownloadError) -> bool:
    """Whether another attempt may succeed at once: a link that broke, a server that is overloaded."""
    if isinstance(error, exceptions.DownloadHTTPError):
        return error.status_code in (408, 425, 429) or error.status_code >= 500
    return not isinstance(error, (exceptions.SlowRetrievalError, exceptions.DownloadLengthMismatchError))
