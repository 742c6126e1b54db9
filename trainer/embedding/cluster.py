"""Jobs on many machines, by Dask's ``distributed`` (optional: ``pip install distributed``).

Every worker must have this project installed and see the recordings under the same paths. A worker that dies costs
nothing but time: its jobs go to another, and to its successor, which gets the backbone before anything else.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any

from trainer.embedding.backbone import Backbone
from trainer.embedding.track import Job, Track, install, run
from trainer.processes import Failure

AHEAD = 3
"""Jobs handed out per thread of the cluster."""
TIMEOUT_S = 20


class ClusterError(RuntimeError):
    """The cluster cannot be used. The text is for people."""


def over_cluster(address: str, backbone: Backbone, jobs: Iterator[Job]) -> Iterator[tuple[Job, Track | Failure]]:
    """The tracks of ``jobs``, in their order; few are handed out ahead.

    Raises:
        ClusterError: ``distributed`` is not installed, nobody answers at ``address``, or no worker is there.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ClusterError("a cluster needs Dask: pip install distributed") from error
    try:
        client = Client(address, timeout=TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"no Dask scheduler answers at {address}: {error}; start one with `dask scheduler`"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=TIMEOUT_S)
        except TimeoutError as error:
            raise ClusterError(f"the scheduler at {address} has no workers; start some with `dask worker`") from error
        client.register_plugin(_plugin(backbone), name=f"ecosight-{backbone.identity[:16]}")
        waiting: deque[tuple[Job, Any]] = deque()
        done = False
        while True:
            while not done and len(waiting) < AHEAD * max(1, sum(client.nthreads().values())):
                job = next(jobs, None)
                if job is None:
                    done = True
                else:
                    waiting.append((job, client.submit(run, backbone.identity, job, pure=False)))
            if not waiting:
                return
            job, future = waiting.popleft()
            raised = future.exception()
            yield job, Failure(raised) if raised is not None else future.result()


def _plugin(backbone: Backbone) -> Any:
    """What makes the backbone known to every worker, also to those that come later."""
    from distributed import WorkerPlugin

    class Installed(WorkerPlugin):  # type: ignore[misc]
        def setup(self, worker: Any) -> None:
            del worker
            install(backbone)

    return Installed()
