"""A repository made by the commands themselves, three maintainers, and a device that reads it with python-tuf."""

import os
from dataclasses import dataclass
from pathlib import Path

from tuf.ngclient import Updater
from typer.testing import CliRunner, Result

from edge.detection.choice import default_model
from edge.detection.model_file import build, read
from edge.updates.release import Rollout
from trainer.release.commands import app

PASSPHRASE = "made up for the tests alone"
MAINTAINERS = ("alice", "bob", "carol")


@dataclass(frozen=True)
class Releases:
    """One ceremony's folder: ``release.yaml``, ``online``, ``repository`` and ``media/<name>``."""

    folder: Path

    @property
    def repository(self) -> Path:
        return self.folder / "repository"

    def medium(self, name: str) -> Path:
        return self.folder / "media" / name

    def keys(self, *names: str) -> list[object]:
        return [part for name in names for part in ("--key", self.medium(name))]

    def run(self, *arguments: object, passphrase: str | None = PASSPHRASE) -> Result:
        """A command on this repository."""
        return run(*arguments, "--config", self.folder / "release.yaml", passphrase=passphrase)

    def done(self, *arguments: object) -> str:
        """A command that must work; what it said."""
        result = self.run(*arguments)
        assert result.exit_code == 0, told(result)
        return result.output

    def set(self, **values: str) -> None:
        """Lines of ``release.yaml`` with other values."""
        file = self.folder / "release.yaml"
        lines = [line for line in file.read_text().splitlines() if line.partition(":")[0] not in values]
        file.write_text("\n".join([*lines, *(f"{key}: {value}" for key, value in values.items())]) + "\n")


def run(*arguments: object, passphrase: str | None = PASSPHRASE) -> Result:
    environment = {"COLUMNS": "200", "ECOSIGHT_RELEASE_PASSPHRASE": passphrase}
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env=environment)
    assert PASSPHRASE not in result.output
    assert "PRIVATE KEY" not in result.output
    return result


def told(result: Result) -> str:
    """Everything that was said, in one line; a traceback is never among it."""
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return " ".join(result.output.split())


def begin(folder: Path, threshold: int = 2, **options: str) -> Releases:
    """Hold a ceremony."""
    releases = Releases(folder)
    maintainers = [part for name in MAINTAINERS for part in ("--maintainer", f"{name}={releases.medium(name)}")]
    more = [part for name, value in options.items() for part in (f"--{name}", value)]
    result = run("init", folder, *maintainers, "--threshold", threshold, *more)
    assert result.exit_code == 0, told(result)
    return releases


def another_model(path: Path, version: str, name: str = "gun-shot") -> Path:
    """The model that ships, under another version: a real one, in another file."""
    found = read(default_model())
    manifest = found.manifest.model_copy(update={"name": name, "version": version})
    path.write_bytes(build(found.graph, manifest, found.golden, found.card))
    return path


class Device:
    """What a device does: python-tuf's own client, from the root that it was given."""

    def __init__(self, root: bytes, folder: Path, url: str) -> None:
        self._root, self._folder, self._url = root, folder, url
        for name in ("metadata", "targets"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def look(self) -> Updater:
        """Refresh; whatever python-tuf raises is raised."""
        updater = Updater(
            str(self._folder / "metadata"),
            f"{self._url}/metadata/",
            str(self._folder / "targets"),
            f"{self._url}/targets/",
            bootstrap=self._root,
        )
        updater.refresh()
        return updater

    def rollout(self, channel: str = "stable") -> Rollout | None:
        """What the channel wants, if it was ever said."""
        content = self.content(f"rollout/{channel}.json")
        return None if content is None else Rollout.model_validate_json(content)

    def content(self, target: str) -> bytes | None:
        """A target's file, verified."""
        updater = self.look()
        info = updater.get_targetinfo(target)
        if info is None:
            return None
        path = self._folder / "targets" / os.urandom(8).hex()
        return Path(updater.download_target(info, str(path))).read_bytes()

    def wanted(self, channel: str = "stable") -> str | None:
        rollout = self.rollout(channel)
        return rollout.model.wanted if rollout is not None and rollout.model is not None else None
