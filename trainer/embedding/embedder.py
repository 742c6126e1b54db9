"""Embeddings of any number of renderings: from the cache, and what is missing from all cores or a cluster.

    with Embedder(backbone, cache) as embedder:
        for track in embedder.tracks(Job(f"{clip.sha256} as it is", file_as_it_is, (clip.path,)) for clip in clips):
            …

Work that is done is kept every second, so whatever ends a run early, the next goes on behind it.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from trainer.embedding.backbone import Backbone, backbone_of
from trainer.embedding.store import Store
from trainer.embedding.track import Job, Sound, Track, install, run
from trainer.processes import Failure, over_processes

LOG = logging.getLogger(__name__)
RELEASE_BYTES = 256 << 20
"""Of tracks handed out, before their memory is given back to the disk cache."""


class EmbeddingError(RuntimeError):
    """A rendering could not be made or embedded. The text names it."""


class Embedder:
    """One backbone over renderings. Use it as a context manager; not thread-safe."""

    def __init__(
        self,
        backbone: bytes | Backbone,
        cache: Path,
        processes: int | None = None,
        cluster: str | None = None,
        say: Callable[[str], None] = LOG.warning,
    ) -> None:
        """``backbone``: a file with one in it (``backbone_of``). ``cache``: folder for what was computed.
        ``processes``: None for one per core. ``cluster``: ``tcp://…`` of a Dask scheduler, whose workers see the same
        files. ``say`` is told of damage in the cache.

        Raises:
            GraphError: no such backbone.
            StoreError: the cache cannot be used.
        """
        self.backbone = backbone if isinstance(backbone, Backbone) else backbone_of(backbone)
        self._processes = processes
        self._cluster = cluster
        self._store = Store(cache / "embeddings" / self.backbone.identity[:16], self.backbone, say)
        self._unreleased_bytes = 0
        install(self.backbone)

    @property
    def sha256(self) -> str:
        """Of the backbone's file."""
        return self.backbone.sha256

    @property
    def scale(self) -> float:
        """One step of the embedding."""
        return self.backbone.scale

    @property
    def width(self) -> int:
        """D."""
        return self.backbone.width

    def track(self, key: str, render: Callable[[], Sound]) -> Track:
        """The windows of ``render()``, kept under ``key``, which must name all that it depends on.

        Raises:
            StoreError: no space. And whatever ``render`` raises.
        """
        found = self._store.get(key)
        return found if found is not None else self._store.put(key, run(self.backbone.identity, Job(key, render)))

    def tracks(self, jobs: Iterable[Job]) -> Iterator[Track]:
        """The tracks of many jobs, in their order; what is not in the cache is computed on all cores, or the cluster.

        Raises:
            EmbeddingError: one could not be made; those before it are kept.
            StoreError: no space; likewise.
        """
        order: deque[Job] = deque()

        def missing() -> Iterator[Job]:
            under_way = set()
            for job in jobs:
                order.append(job)
                if job.key not in under_way and self._store.get(job.key) is None:
                    under_way.add(job.key)
                    yield job

        def ready() -> Iterator[Track]:
            while order and (track := self._store.get(order[0].key)) is not None:
                order.popleft()
                yield self._handed(track)

        try:
            for job, outcome in self._compute(missing()):
                if isinstance(outcome, Failure):
                    raise EmbeddingError(f"{job.key}: {_said(outcome.error)}") from outcome.error
                self._store.put(job.key, outcome)
                yield from ready()
            yield from ready()
        finally:
            self._store.commit()

    def release(self) -> None:
        """Give the memory back of tracks that were read; they stay readable."""
        self._store.release()

    def close(self) -> None:
        """Keep everything, and let others write into the cache. Tracks stay readable."""
        self._store.close()

    def __enter__(self) -> "Embedder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _compute(self, jobs: Iterator[Job]) -> Iterator[tuple[Job, Track | Failure]]:
        if self._cluster:
            from trainer.embedding.cluster import over_cluster

            return over_cluster(self._cluster, self.backbone, jobs)
        work = partial(run, self.backbone.identity)
        return over_processes(work, jobs, self._processes, partial(install, self.backbone))

    def _handed(self, track: Track) -> Track:
        self._unreleased_bytes += track.steps.nbytes
        if self._unreleased_bytes > RELEASE_BYTES:
            self._store.release()
            self._unreleased_bytes = 0
        return track


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__
