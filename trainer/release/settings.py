"""``release.yaml``: where the repository and its online keys are, how long signatures hold, who is told.

    repository: repository            # a folder beside this file, or s3://bucket/prefix
    sites: [forest]
    broker: {host: broker.example.org, port: 8883, tls: true, username: maintainer, password_file: mqtt-password}

Paths are beside the file. The address and keys of a bucket come from AWS's own variables.
"""

from pathlib import Path

from pydantic import Field

from edge.delivery.messages import Identifier
from edge.settings import BrokerSettings
from edge.settings_file import Section, SettingsError, read
from trainer.release import ReleaseError

NAME = "release.yaml"
S3 = "s3://"


class Broker(BrokerSettings):
    """The MQTT broker of the devices."""

    host: str
    """Broker."""
    client_certificate_file: Path | None = None
    """Certificate that identifies the maintainer (PEM)."""


class ExpireDays(Section):
    """For how many days a signature of each role holds. Devices keep their model after that, and take no other."""

    root: int = Field(default=365, ge=1, le=3650)
    targets: int = Field(default=365, ge=1, le=3650)
    models: int = Field(default=365, ge=1, le=3650)
    rollout: int = Field(default=30, ge=1, le=365)
    snapshot: int = Field(default=30, ge=1, le=365)
    timestamp: int = Field(default=7, ge=1, le=90)
    """How long somebody who stands between may keep what is new from a device; the timer must come more often."""


class ReleaseSettings(Section):
    """Content of ``release.yaml``."""

    repository: str = Field(default="repository", min_length=1)
    """A folder, or ``s3://bucket/prefix``."""
    online_keys: Path = Path("online")
    """Folder with the keys that sign without a person."""
    trusted_root: Path = Path("root.json")
    """The root of trust: what devices are given, and what the repository is compared with."""
    sites: tuple[Identifier, ...] = ()
    """Whom a hint is sent to."""
    broker: Broker | None = None
    """Where hints are sent and devices are heard; neither without one."""
    expire_days: ExpireDays = ExpireDays()

    @property
    def is_bucket(self) -> bool:
        return self.repository.startswith(S3)


def load(path: Path) -> ReleaseSettings:
    """The settings in ``path`` (a file, or the folder that it is in), with paths made whole. Raises ReleaseError."""
    if path.is_dir():
        path = path / NAME
    if not path.is_file():
        raise ReleaseError(
            f"{path} is not there; name it with --config, or begin with `ecosight-trainer release init FOLDER`"
        )
    try:
        settings = read(ReleaseSettings, path, {})
    except SettingsError as error:
        raise ReleaseError(str(error)) from error
    return beside(settings, path.parent)


def beside(settings: ReleaseSettings, folder: Path) -> ReleaseSettings:
    """The settings with every relative path taken from ``folder``."""
    changes: dict[str, object] = {
        "online_keys": folder / settings.online_keys,
        "trusted_root": folder / settings.trusted_root,
    }
    if not settings.is_bucket:
        changes["repository"] = str(folder / settings.repository)
    if settings.broker is not None:
        files = ("ca_file", "client_certificate_file", "client_key_file", "password_file")
        named = {key: folder / path for key in files if (path := getattr(settings.broker, key)) is not None}
        changes["broker"] = settings.broker.model_copy(update=named)
    return settings.model_copy(update=changes)
