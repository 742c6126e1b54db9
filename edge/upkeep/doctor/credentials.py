"""Outside its unit the program has no systemd credentials; root may read them where systemd does."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

CREDENTIALS = ("mqtt_password", "s3_access_key", "s3_secret_key")
UNIT = "ecosight-edge"


@contextlib.contextmanager
def as_in_the_unit(store: Path = Path("/etc/credstore"), unit: str = UNIT) -> Iterator[None]:
    """For the time of the block, ``secret()`` finds what ``LoadCredential=`` would hand to the unit."""
    there = {}
    with contextlib.suppress(OSError):
        there = {name: store / f"{unit}.{name}" for name in CREDENTIALS if (store / f"{unit}.{name}").is_file()}
    if "CREDENTIALS_DIRECTORY" in os.environ or not there:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="ecosight-doctor-") as folder:  # mode 0700
        for name, file in there.items():
            (Path(folder) / name).symlink_to(file)
        os.environ["CREDENTIALS_DIRECTORY"] = folder
        try:
            yield
        finally:
            del os.environ["CREDENTIALS_DIRECTORY"]
