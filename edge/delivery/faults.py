"""What went wrong on the way to the storage, named so that a person knows what to do.

Works on names and texts, not on types, so that nobody needs to import boto3 to read it. Codes of S3 errors:
https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html; texts of TLS errors: OpenSSL's x509_vfy.
"""

import errno
import time
from dataclasses import dataclass
from typing import Any, Literal

Scope = Literal["storage", "clip"]


@dataclass(frozen=True, slots=True)
class Fault:
    code: str
    """Short and stable: goes into `health` as ``storage:CODE``."""
    detail: str
    """For a person: what was seen, and the next step."""
    scope: Scope = "storage"
    """``clip``: only this clip is concerned, others may go on."""


S3_CODES: dict[str, tuple[str, Scope]] = {
    "RequestTimeTooSkewed": ("clock", "storage"),
    "RequestExpired": ("clock", "storage"),
    "InvalidAccessKeyId": ("bad_credentials", "storage"),
    "SignatureDoesNotMatch": ("bad_credentials", "storage"),
    "InvalidToken": ("bad_credentials", "storage"),
    "ExpiredToken": ("bad_credentials", "storage"),
    "AccessDenied": ("not_allowed", "storage"),
    "AllAccessDisabled": ("not_allowed", "storage"),
    "AccountProblem": ("not_allowed", "storage"),
    "NoSuchBucket": ("no_such_bucket", "storage"),
    "InvalidBucketName": ("no_such_bucket", "storage"),
    "PermanentRedirect": ("wrong_region", "storage"),
    "AuthorizationHeaderMalformed": ("wrong_region", "storage"),
    "QuotaExceeded": ("no_space", "storage"),
    "InsufficientStorage": ("no_space", "storage"),
    "XMinioStorageFull": ("no_space", "storage"),
    "XMinioAdminBucketQuotaExceeded": ("no_space", "storage"),
    "EntityTooLarge": ("too_large", "clip"),
    "KeyTooLongError": ("bad_key", "clip"),
    "BadDigest": ("checksum", "storage"),
    "XAmzContentSHA256Mismatch": ("checksum", "storage"),
    "NotImplemented": ("not_supported", "storage"),
    "SlowDown": ("busy", "storage"),
    "ServiceUnavailable": ("busy", "storage"),
}
NEXT_STEP = {
    "clock": "set this device's clock (is NTP reachable?)",
    "certificate": "check `storage.s3.endpoint_url` and the certificates this device trusts",
    "dns": "check the host in `storage.s3.endpoint_url` and this device's DNS",
    "refused": "is the storage server running, and the port in `storage.s3.endpoint_url` right?",
    "unreachable": "check this device's network",
    "timeout": "the link is slow or cut; `storage.timeout_s` may be raised",
    "bad_credentials": "check `storage.s3.access_key_file` and `secret_key_file`",
    "not_allowed": "allow this key to put and read objects of the bucket",
    "no_such_bucket": "create the bucket, or correct `storage.s3.bucket`",
    "wrong_region": "correct `storage.s3.region`",
    "no_space": "make room in the storage, or raise its quota",
    "encryption": "this storage cannot encrypt as asked: set `storage.s3.server_side_encryption` to what it can",
    "not_installed": "install the S3 extra: pip install 'ecosight[s3]'",
}
NETWORK_TEXTS = (
    ("certificate is not yet valid", "clock"),
    ("certificate has expired", "clock"),
    ("certificate verify failed", "certificate"),
    ("name or service not known", "dns"),
    ("name resolution", "dns"),
    ("no address associated", "dns"),
    ("failed to resolve", "dns"),
    ("connection refused", "refused"),
    ("network is unreachable", "unreachable"),
    ("no route to host", "unreachable"),
    ("timed out", "timeout"),
    ("timeout", "timeout"),
)
CREDENTIAL_ERRORS = ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError")


def explain(error: BaseException) -> Fault:
    """Name an exception of botocore, of the network, of TLS or of the local disk."""
    name = type(error).__name__
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict) and "Error" in response:
        return _of_response(response)
    if isinstance(error, ModuleNotFoundError):
        return _fault("not_installed", str(error))
    if isinstance(error, FileNotFoundError):
        return Fault("file_missing", str(error), "clip")
    if name == "DamagedFileError":
        return Fault("damaged", str(error), "clip")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _fault("no_space", str(error))
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return _fault("not_allowed", str(error))
    if name in CREDENTIAL_ERRORS:
        return _fault("bad_credentials", str(error))
    text = " / ".join(str(link) for link in _chain(error))
    for part, code in NETWORK_TEXTS:
        if part in text.lower():
            return _fault(code, f"{name}: {text}"[:300])
    if "SSL" in name or "CERTIFICATE" in text:
        return _fault("certificate", f"{name}: {text}"[:300])
    if "Connection" in name or "HTTPClient" in name or "Endpoint" in name:
        return _fault("connection", f"{name}: {text}"[:300])
    return Fault("error", f"{name}: {text}"[:300])


def _of_response(response: dict[str, Any]) -> Fault:
    said = response["Error"]
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    s3_code, message = str(said.get("Code", "")), str(said.get("Message", ""))
    text = f"{s3_code} ({status}): {message}"
    if "encryption" in message.lower() or s3_code.startswith("KMS."):
        return _fault("encryption", text)
    code, scope = S3_CODES.get(s3_code, ("", "storage"))
    if not code:
        # A HEAD has no body, so there is only the status.
        code = {403: "not_allowed", 404: "no_such_bucket", 507: "no_space", 503: "busy"}.get(status, "")
    if code == "clock" and said.get("ServerTime"):
        text += f", server time {said['ServerTime']}"
    return _fault(code or ("server" if status >= 500 else "error"), text, scope)


def _fault(code: str, seen: str, scope: Scope = "storage") -> Fault:
    step = NEXT_STEP.get(code)
    if code == "clock":
        here = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        expired = " or the certificate really has expired" if "has expired" in seen else ""
        seen = f"{seen}; this device believes that it is {here}{expired}"
    return Fault(code, f"{seen}; {step}" if step else seen, scope)


def _chain(error: BaseException) -> list[BaseException]:
    links: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in links and len(links) < 5:
        links.append(link)
        link = link.__cause__ or link.__context__
    return links
