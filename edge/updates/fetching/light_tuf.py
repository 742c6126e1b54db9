"""python-tuf without what a device never uses.

securesystemslib offers signers for the key services of clouds, and imports boto3 for them where it is installed: 16 MiB
beside the 35 MiB of everything else. A device verifies and never signs. Import tuf from here first.
"""

import sys

__all__ = ["FetcherInterface", "TargetFile", "Updater", "UpdaterConfig", "exceptions"]

_OF_CLOUDS = ("boto3", "azure", "google.cloud", "requests")

_hidden = [name for name in _OF_CLOUDS if name not in sys.modules]
sys.modules.update(dict.fromkeys(_hidden))  # type: ignore[arg-type]  # None: "import" raises ImportError
try:
    from tuf.api import exceptions
    from tuf.api.metadata import TargetFile
    from tuf.ngclient.config import UpdaterConfig
    from tuf.ngclient.fetcher import FetcherInterface
    from tuf.ngclient.updater import Updater
finally:
    for _name in _hidden:
        del sys.modules[_name]
