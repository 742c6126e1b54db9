"""A fleet of simulated devices through publish 10 % → widen → withdraw: ``script/fleet``.

    script/fleet --devices 1000

Every device is its own site and name, its own folder of TUF metadata, and two slots. It looks at the repository with
the very code of the fetch process (`fetching.fetch.Run`), over loopback HTTP, and begins downloads from what it
has. What it leaves out is what takes time on a real one: the trial and the probation. The repository is made by the
commands that maintainers type. At each step all devices are woken at once, as by a hint without its spread, and as many
look at a time as there are workers: the time to settle is from the command's end until a device runs what it shall run,
and most of it is waiting for a worker.
"""

import argparse
import io
import json
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from edge.settings import EdgeSettings
from edge.updates.fetching.fetch import Run
from edge.updates.fetching.limits import Limits
from edge.updates.fetching.pace import Pace
from edge.updates.offer import Line, Request
from edge.updates.release import draw
from tests.edge.updates.simulated_repository import Served
from tests.trainer.release.making import Releases, another_model, begin

DEVICES = 1000
WORKERS = 2
MOST_OFF = 0.02
"""How far the share of devices may be from the fraction that was asked for."""
OLD, NEW = "models/gun-shot-1.tflite", "models/gun-shot-2.tflite"


@dataclass(frozen=True)
class Looked:
    """What one look of one device came to."""

    device: str
    at_s: float
    """When it ran what it shall run (``time.monotonic``)."""
    runs: str
    downloaded: str
    """Target; empty where nothing was."""
    on_the_air: int
    """Bytes of it."""


@dataclass(frozen=True)
class Settled:
    """One step of the fleet."""

    step: str
    share_new: float
    downloads: int
    p50_s: float
    p95_s: float
    bytes_per_download: float


def site_of(number: int) -> tuple[str, str]:
    """Site and name of a device."""
    return f"site{number % 20}", f"device{number}"


def look(number: int, folder: Path, url: str, models: Path) -> Looked:
    """One device looks, and brings itself to what it is asked to run.

    Its slots hold names; the files are the same for all of them and lie in ``models``.
    """
    site, device = site_of(number)
    home = folder / str(number)
    home.mkdir(parents=True, exist_ok=True)
    state_file = home / "slots.json"
    state = json.loads(state_file.read_text()) if state_file.exists() else {"runs": OLD, "slots": [OLD]}
    settings = EdgeSettings.model_validate(
        {
            "site": site,
            "device": device,
            "state_dir": str(home / "state"),
            "clips": {"free_floor_bytes": 0},
            "updates": {"url": url, "root": str(folder / "root.json")},
        }
    )
    have = [models / Path(target).name for target in state["slots"]]
    request = Request(
        kinds=["model"],
        into=home / "download",
        have=have,
        downloaded={"model": state["slots"]},
        clock_synchronised=True,
    )
    answers = io.StringIO()
    Run(settings, request, answers, Limits()).run(Pace(Limits(), 600))
    lines = [Line.model_validate_json(line) for line in answers.getvalue().splitlines()]
    if errors := [line.error for line in lines if line.error]:
        raise RuntimeError(f"{site}:{device}: {errors}")
    offer = next(line.offer for line in lines if line.offer)
    fetched = next((line.fetched for line in lines if line.fetched), None)
    if offer.model is not None and offer.model.target != state["runs"]:
        if fetched is None and offer.model.target not in state["slots"]:
            raise RuntimeError(f"{site}:{device}: {offer.model.target} was offered and did not come")
        state_file.write_text(json.dumps({"runs": offer.model.target, "slots": [state["runs"], offer.model.target]}))
        state["runs"] = offer.model.target
    at_s = time.monotonic()
    shutil.rmtree(home / "download", ignore_errors=True)
    came = (fetched.target, fetched.bytes_on_the_air) if fetched else ("", 0)
    return Looked(f"{site}/{device}", at_s, state["runs"], *came)


class Fleet:
    """All devices, and what each has downloaded."""

    def __init__(self, count: int, folder: Path, workers: int = WORKERS) -> None:
        self.count = count
        self.folder = folder
        self.models = folder / "models"
        self.models.mkdir(parents=True)
        for target in (OLD, NEW):
            another_model(self.models / Path(target).name, target.removesuffix(".tflite").rpartition("-")[2])
        self.releases: Releases = begin(folder / "releases", threshold=2)
        shutil.copy(self.releases.folder / "root.json", folder / "root.json")
        self.downloads: dict[tuple[str, str], int] = {}
        self._workers = workers

    def through_it_all(self) -> Iterator[Settled]:
        """The new one to 10 %, to all, and back to the old one, which all devices came with."""
        keys = self.releases.keys("alice", "bob")
        self.releases.done("publish", self.models / Path(OLD).name, "--fraction", 1, *keys)
        with Served(self.releases.repository) as server, self._pool() as pool:
            for step, command in (
                ("publish 10 %", ["publish", self.models / Path(NEW).name, "--fraction", 0.1, *keys]),
                ("widen to 50 %", ["widen", "--fraction", 0.5]),
                ("widen to all", ["widen", "--fraction", 1]),
                ("withdraw", ["withdraw"]),
            ):
                self.releases.done(*command)
                yield self._settle(step, server.url, pool)

    def meant(self, fraction: float) -> float:
        """The share of these devices that the draw lets in."""
        drawn = (draw(*site_of(number), NEW) for number in range(self.count))
        return sum(one < fraction for one in drawn) / self.count

    def _settle(self, step: str, url: str, pool: ProcessPoolExecutor) -> Settled:
        began_s = time.monotonic()
        jobs = [pool.submit(look, number, self.folder / "devices", url, self.models) for number in range(self.count)]
        found = [job.result() for job in jobs]
        for one in found:
            if one.downloaded:
                key = (one.device, one.downloaded)
                self.downloads[key] = self.downloads.get(key, 0) + 1
        taken_s = sorted(one.at_s - began_s for one in found)
        came = [one.on_the_air for one in found if one.downloaded]
        return Settled(
            step,
            sum(one.runs == NEW for one in found) / self.count,
            len(came),
            taken_s[len(taken_s) // 2],
            taken_s[min(len(taken_s) - 1, int(0.95 * len(taken_s)))],
            sum(came) / len(came) if came else 0.0,
        )

    def _pool(self) -> ProcessPoolExecutor:
        (self.folder / "devices").mkdir(exist_ok=True)
        shutil.copy(self.folder / "root.json", self.folder / "devices" / "root.json")
        return ProcessPoolExecutor(self._workers, mp_context=multiprocessing.get_context("forkserver"))


EXPECTED = {
    "publish 10 %": 0.1,
    "widen to 50 %": 0.5,
    "widen to all": 1.0,
    "withdraw": 0.0,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="script/fleet", description=__doc__.partition("\n")[0])
    parser.add_argument("--devices", type=int, default=DEVICES)
    parser.add_argument("--workers", type=int, default=WORKERS)
    named = parser.parse_args()
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(named.devices, Path(folder), named.workers)
        print(f"{'step':14} {'asked':>6} {'run it':>7} {'downloads':>9} {'bytes each':>10} {'p50 s':>7} {'p95 s':>7}")
        for one in fleet.through_it_all():
            asked = EXPECTED[one.step]
            off = "" if abs(one.share_new - asked) <= MOST_OFF else "  MISS"
            wrong += [one.step] if off else []
            figures = f"{one.share_new:7.1%} {one.downloads:9} {one.bytes_per_download:10.0f}"
            print(f"{one.step:14} {asked:6.0%} {figures} {one.p50_s:7.1f} {one.p95_s:7.1f}{off}", flush=True)
        twice = sum(count > 1 for count in fleet.downloads.values())
        print(f"{len(fleet.downloads)} downloads by {named.devices} devices; twice: {twice}")
    return int(bool(wrong or twice))


if __name__ == "__main__":
    sys.exit(main())
