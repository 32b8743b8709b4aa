"""Threads that make tiles: what somebody waits for first, what may be wanted next when nobody waits."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache

Make = Callable[[], object]


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    key: Hashable
    make: Make
    future: Future[object] = field(default_factory=Future)


class TileLoader:
    """Make tiles in threads, each once however many ask for it.

    Whoever asks belongs to a group. A group's newer request takes the place of its older one: tiles of a view that has
    moved on are not made any more, unless they are being made already.

    Parameters
    ----------
    threads : int
        How many tiles are made at a time; half as many where nobody waits for them.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="slide-tiles")
        self._lock = threading.Lock()
        self._urgent: dict[Hashable, deque[_Task]] = {}
        self._ahead: dict[Hashable, deque[_Task]] = {}
        self._running: dict[Hashable, _Task] = {}
        self._ahead_running, self._ahead_most = 0, max(1, threads // 2)
        self._here = threading.local()

    @property
    def inside(self) -> bool:
        """Whether the present thread is one of the loader's: it must make what it needs itself, and never wait."""
        return getattr(self._here, "inside", False)

    def ask(self, group: Hashable, wanted: Iterable[tuple[Hashable, Make]]) -> list[Future[object]]:
        """Have tiles made as soon as possible.

        Parameters
        ----------
        group : hashable
            Who asks; what it asked for before and has not got is dropped, its futures cancelled.
        wanted : iterable of (key, callable)
            What to call for each tile; the key tells tiles apart.

        Returns
        -------
        list of Future
            Hold what the callables return or raise.
        """
        tasks, fresh = [], deque[_Task]()
        with self._lock:
            dropped = self._urgent.pop(group, deque())
            waiting = {task.key: task for task in dropped}
            for key, make in wanted:
                task = self._running.get(key) or waiting.pop(key, None)
                if task is None or key not in self._running:
                    task = task or _Task(key, make)
                    fresh.append(task)
                tasks.append(task)
            count = len(fresh)
            if fresh:
                self._urgent[group] = fresh
        for task in waiting.values():
            task.future.cancel()
        for _ in range(count):
            self._pool.submit(self._work)
        return [task.future for task in tasks]

    def ask_ahead(self, group: Hashable, wanted: Iterable[tuple[Hashable, Make]]) -> None:
        """Have tiles made when nobody waits for others; replaces what the group wished for before."""
        tasks = deque(_Task(key, make) for key, make in wanted)
        count = len(tasks)
        with self._lock:
            self._ahead.pop(group, None)
            if tasks:
                self._ahead[group] = tasks
        for _ in range(count):
            self._pool.submit(self._work)

    def drop(self, group: Hashable) -> None:
        """Forget all that a group has asked for."""
        self.ask(group, ())
        self.ask_ahead(group, ())

    def _work(self) -> None:
        self._here.inside = True
        task, ahead = self._next()
        if task is None:
            return
        try:
            made = task.make()
        except BaseException as error:
            task.future.set_exception(error)
        else:
            task.future.set_result(made)
        finally:
            with self._lock:
                del self._running[task.key]
                self._ahead_running -= ahead
            if ahead:
                self._pool.submit(self._work)  # for one that was held back

    def _next(self) -> tuple[_Task | None, bool]:
        with self._lock:
            task = self._pop(self._urgent)
            if task is not None:
                return task, False
            if self._ahead_running >= self._ahead_most:
                return None, False
            task = self._pop(self._ahead)
            self._ahead_running += task is not None
            return task, task is not None

    def _pop(self, groups: dict[Hashable, deque[_Task]]) -> _Task | None:
        """Take a group's next task that is neither cancelled nor being done for somebody else."""
        for group, tasks in list(groups.items()):
            while tasks:
                task = tasks.popleft()
                twin = self._running.get(task.key)
                if twin is not None:
                    twin.future.add_done_callback(_hand_on(task.future))
                elif task.future.set_running_or_notify_cancel():
                    self._running[task.key] = task
                    if not tasks:
                        del groups[group]
                    return task
            del groups[group]
        return None


def _hand_on(to: Future[object]) -> Callable[[Future[object]], None]:
    def done(twin: Future[object]) -> None:
        if to.set_running_or_notify_cancel():
            error = twin.exception()
            if error is None:
                to.set_result(twin.result())
            else:
                to.set_exception(error)

    return done


@cache
def tile_loader() -> TileLoader:
    """Return the one loader that all slides share."""
    return TileLoader(min(8, os.cpu_count() or 1))
