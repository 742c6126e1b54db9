"""One finished run that tests look at or go on from; it takes seconds, so it is made once."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.trainer.retraining.making import pack, run
from trainer.retraining.pipeline import Outcome
from trainer.retraining.telling import Telling


@dataclass(frozen=True)
class Home:
    """Where a run works, and the recordings that it works on."""

    folder: Path
    data: Path
    outcome: Outcome
    telling: Telling

    @property
    def models(self) -> Path:
        return self.folder / "models"


@pytest.fixture(autouse=True)
def few_excerpts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing spectrograms takes longer than all the rest."""
    monkeypatch.setattr("trainer.judging.evaluate.HARDEST", 1)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A run that has ended; not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    data = pack(folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.judging.evaluate.HARDEST", 1)
        outcome, telling = run(folder, data)
    return Home(folder, data, outcome, telling)


@pytest.fixture
def home(finished: Home, tmp_path: Path) -> Home:
    """A copy of it that may be changed. Recordings lie at another place there, so its catalogue begins anew."""
    folder = tmp_path / "home"
    shutil.copytree(finished.folder, folder, symlinks=True, ignore=shutil.ignore_patterns("catalogue"))
    return Home(folder, folder / "data", finished.outcome, finished.telling)
