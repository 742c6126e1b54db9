"""One function over many things, on several cores, in order and with bounded memory.

    for item, outcome in over_processes(inspect, paths, processes=2):
        if isinstance(outcome, Failure): …

The workers are processes of their own, started afresh (not forked: threads of libraries do not survive that), with
one thread each. Few things are handed out ahead, so neither inputs nor results pile up. A worker that dies costs the
one thing that killed it, which is told; the others are done again by its successor. Workers leave Ctrl-C to whoever
started them, and end when that process ends, however it ends.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import chain, islice
from multiprocessing import get_context, resource_tracker
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 4
"""Things handed out per worker."""
LOOKS_FOR_PARENT_S = 0.5
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Failure:
    """In the place of a result."""

    error: BaseException
    """What the function raised; or ``WorkerDied``."""


class WorkerDied(RuntimeError):  # noqa: N818 - the field's word for it
    """The process that worked on this thing died of it: a crash in a library, or killed for its memory."""


@dataclass(frozen=True)
class _Call(Generic[Item, Result]):
    function: Callable[[Item], Result]
    item: Item

    def __call__(self) -> Result | Failure:
        try:
            return self.function(self.item)
        except Exception as error:
            return Failure(error)


def over_processes(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    processes: int | None = None,
    start: Callable[[], None] | None = None,
) -> Iterator[tuple[Item, Result | Failure]]:
    """``function`` of every item, in the items' order. With ``processes`` 1 (None: one per core) all happens here.

    ``function``, the items and ``start`` (called first in every worker) go through pickle to the workers: functions of
    a module, and plain values. A program that calls this from its own file must guard that with ``__name__``.
    """
    count = processes or os.cpu_count() or 1
    if count == 1:
        if start is not None:
            start()
        for item in items:
            yield item, _Call(function, item)()
        return
    rest = iter(items)
    waiting: deque[tuple[Item, Future[Result | Failure]]] = deque()
    try:
        first = next(rest)
    except StopIteration:  # nothing to do is done without workers
        return
    rest = chain([first], rest)
    pool = _Pool(count, start)
    try:
        while True:
            for more in islice(rest, count * AHEAD - len(waiting)):
                waiting.append((more, pool.submit(_Call(function, more))))
            if not waiting:
                return
            item, future = waiting[0]
            try:
                outcome = future.result()
            except BrokenProcessPool:
                # Somebody died, and takes all that was handed out along. One after the other the guilty one is found.
                done = pool.one_by_one([_Call(function, other) for other, _ in waiting])
                waiting = deque((other, one) for (other, _), one in zip(waiting, done, strict=True))
                pool.renew()
                continue
            waiting.popleft()
            yield item, outcome
    finally:
        pool.end()


class _Pool:
    """Workers, and their successors."""

    def __init__(self, count: int, start: Callable[[], None] | None) -> None:
        self._count = count
        self._start = start
        self._executor = self._workers(count)

    def submit(self, call: _Call[Item, Result]) -> "Future[Result | Failure]":
        try:
            return self._executor.submit(call)
        except BrokenProcessPool as error:
            broken: Future[Result | Failure] = Future()
            broken.set_exception(error)
            return broken

    def renew(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._executor = self._workers(self._count)

    def one_by_one(self, calls: list[_Call[Item, Result]]) -> "list[Future[Result | Failure]]":
        """The calls, done, each in a worker where nothing else runs."""
        executor = self._workers(1)
        outcomes: list[Future[Result | Failure]] = []
        for call in calls:
            done: Future[Result | Failure] = Future()
            try:
                done.set_result(executor.submit(call).result())
            except BrokenProcessPool:
                done.set_result(Failure(WorkerDied("the process that worked on it died")))
                executor.shutdown(wait=False, cancel_futures=True)
                executor = self._workers(1)
            outcomes.append(done)
        executor.shutdown(wait=False, cancel_futures=True)
        return outcomes

    def end(self) -> None:
        """At once: nobody waits any more for what is still being worked on."""
        workers = list((getattr(self._executor, "_processes", None) or {}).values())
        self._executor.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.kill()

    def _workers(self, count: int) -> ProcessPoolExecutor:
        executor = ProcessPoolExecutor(count, get_context("spawn"), _begin, (os.getpid(), self._start))
        before = {name: os.environ.get(name) for name in ONE_THREAD}
        os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
        try:
            # A worker takes its environment along at its start, and starts when there is something to do.
            with _interrupted_later():
                for _ in range(count):
                    executor.submit(_nothing)
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
        return executor


@contextlib.contextmanager
def _interrupted_later() -> Iterator[None]:
    """Ctrl-C goes to the whole group. Processes that are begun in here take along that it is blocked, so it does not
    hit them before they can ignore it; and here it waits until they are whole."""
    # Begun before: it unblocks signals where it is begun.
    resource_tracker.ensure_running()
    came: list[int] = []
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number)) if main else None
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        if main:
            signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


def _nothing() -> None:
    """Done by a worker that has just begun."""


def _begin(parent: int, start: Callable[[], None] | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    # Decoders written in C chatter there; what goes wrong comes back as an exception.
    sys.stderr.flush()
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)
    if start is not None:
        start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOKS_FOR_PARENT_S)
    os._exit(1)
