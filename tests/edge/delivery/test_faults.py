"""What went wrong on the way to the storage is named, with the next step."""

import errno
import time
from typing import Any

import pytest

from edge.delivery.faults import explain


class EndpointConnectionError(Exception):
    pass


class NoCredentialsError(Exception):
    pass


class SSLError(Exception):
    pass


def _answered(code: str, status: int = 400, message: str = "", **more: str) -> Exception:
    error: Any = Exception(code)
    error.response = {
        "Error": {"Code": code, "Message": message, **more},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return error  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (_answered("RequestTimeTooSkewed", 403, ServerTime="2026-05-01T12:00:00Z"), "clock"),
        (SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate is not yet valid"), "clock"),
        (SSLError("certificate verify failed: certificate has expired (_ssl.c:997)"), "clock"),
        (SSLError("certificate verify failed: self-signed certificate"), "certificate"),
        (EndpointConnectionError("Failed to resolve 's3.example' ([Errno -2] Name or service not known)"), "dns"),
        (EndpointConnectionError("[Errno 111] Connection refused"), "refused"),
        (EndpointConnectionError("[Errno 101] Network is unreachable"), "unreachable"),
        (TimeoutError("timed out"), "timeout"),
        (NoCredentialsError("Unable to locate credentials"), "bad_credentials"),
        (_answered("InvalidAccessKeyId", 403), "bad_credentials"),
        (_answered("SignatureDoesNotMatch", 403), "bad_credentials"),
        (_answered("AccessDenied", 403), "not_allowed"),
        (_answered("NoSuchBucket", 404), "no_such_bucket"),
        (_answered("404", 404), "no_such_bucket"),
        (_answered("QuotaExceeded", 403), "no_space"),
        (_answered("XMinioStorageFull", 507), "no_space"),
        (_answered("Whatever", 507), "no_space"),
        (_answered("NotImplemented", 501, "Server-side encryption is not supported."), "encryption"),
        (_answered("SlowDown", 503), "busy"),
        (_answered("InternalError", 500), "server"),
        (OSError(errno.ENOSPC, "No space left on device"), "no_space"),
        (OSError(errno.EROFS, "Read-only file system"), "not_allowed"),
        (FileNotFoundError("gone"), "file_missing"),
        (ModuleNotFoundError("No module named 'botocore'"), "not_installed"),
        (ZeroDivisionError("odd"), "error"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_went_wrong_is_named(error: Exception, code: str) -> None:
    fault = explain(error)
    assert fault.code == code and fault.detail


def test_a_wrong_clock_is_told_with_both_times() -> None:
    fault = explain(_answered("RequestTimeTooSkewed", 403, ServerTime="2026-05-01T12:00:00Z"))
    assert "2026-05-01T12:00:00Z" in fault.detail and time.strftime("%Y-%m-%dT") in fault.detail
    assert "NTP" in fault.detail
