"""What is asked of a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Licence = Literal["any", "shippable"]


@dataclass(frozen=True)
class Trigger:
    """When a run is worth it, where it is not asked for by a person."""

    min_new: int = 100
    """Recordings that came since the run before."""
    every_days: float | None = None
    """Since the run before, whatever came."""


@dataclass(frozen=True)
class Request:
    """All options of ``ecosight-trainer retrain``."""

    data: tuple[Path, ...] = ()
    """Folders that the catalogue is brought in agreement with first; none: it is taken as it is."""
    bucket: str | None = None
    """Downloaded first, into the first of ``data``."""
    catalogue: Path = Path("catalogue")
    models: Path = Path("models")
    cache: Path = Path(".cache")
    backbone: Path | None = None
    """None: the network of the model that ships."""
    name: str = "gun-shot"
    variants: int = 5
    """Of each clip in the field; of a shot three times as many, for there are few."""
    own: bool = False
    """Recordings of which nothing says a licence are one's own."""
    licence: Licence = "any"
    per_hour: float = 3.0
    """False alarms of the field's sounds that the threshold is set for."""
    veto_radius: float | None = None
    """Of the model's rule for sounds that rangers mark as false; None: it has none."""
    seed: int = 1
    cluster: str | None = None
    processes: int | None = None
    """None: one per core."""
    ablations: bool = False
    trigger: Trigger | None = None
    force: bool = False
    reason: str = ""
    who: str = ""

    @property
    def of_shots(self) -> int:
        return 3 * self.variants

    @property
    def work(self) -> Path:
        """For what a run makes on its way: all of it can be made again."""
        return self.cache / "retraining"
