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

    A task that takes long, such as computing an overview from the whole slide, must not keep a view waiting: it calls
    `give_way` between two of its steps.

    Parameters
    ----------
    threads : int
        How many tiles are made at a time; half as many where nobody waits for them.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="slide-tiles")
        self._lock = threading.Lock()
        self._urgent: dict[Hashable, deque[_Task]] = {}
        self._patient: dict[Hashable, deque[_Task]] = {}
        self._ahead: dict[Hashable, deque[_Task]] = {}
        self._running: dict[Hashable, _Task] = {}
        self._ahead_running, self._ahead_most = 0, max(1, threads // 2)
        self._here = threading.local()

    @property
    def inside(self) -> bool:
        """Whether the present thread is one of the loader's: it must make what it needs itself, and never wait."""
        return getattr(self._here, "inside", False)

    def ask(
        self, group: Hashable, wanted: Iterable[tuple[Hashable, Make]], *, patient: bool = False
    ) -> list[Future[object]]:
        """Have tiles made as soon as possible.

        Parameters
        ----------
        group : hashable
            Who asks; what it asked for before and has not got is dropped, its futures cancelled.
        wanted : iterable of (key, callable)
            What to call for each tile; the key tells tiles apart.
        patient : bool
            Let those go first who are not.

        Returns
        -------
        list of Future
            Hold what the callables return or raise.
        """
        tasks, fresh = [], deque[_Task]()
        with self._lock:
            queues = self._patient if patient else self._urgent
            dropped = queues.pop(group, deque())
            waiting = {task.key: task for task in dropped}
            for key, make in wanted:
                task = self._running.get(key) or waiting.pop(key, None)
                if task is None or key not in self._running:
                    task = task or _Task(key, make)
                    fresh.append(task)
                tasks.append(task)
            count = len(fresh)
            if fresh:
                queues[group] = fresh
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
        self.ask(group, (), patient=True)
        self.ask_ahead(group, ())

    def give_way(self) -> None:
        """Make what is urgent first: for a task to call that is not and takes long, where it can be interrupted."""
        if not getattr(self._here, "may_wait", False):
            return
        self._here.may_wait = False  # what is urgent gives way to nothing
        try:
            while (task := self._next_urgent()) is not None:
                self._run(task)
        finally:
            self._here.may_wait = True

    def _work(self) -> None:
        self._here.inside = True
        task, queue = self._next()
        if task is None:
            return
        ahead = queue is self._ahead
        self._here.may_wait = queue is not self._urgent
        try:
            self._run(task)
        finally:
            self._here.may_wait = False
            if ahead:
                with self._lock:
                    self._ahead_running -= 1
                self._pool.submit(self._work)  # for one that was held back

    def _run(self, task: _Task) -> None:
        try:
            made = task.make()
        except BaseException as error:
            task.future.set_exception(error)
        else:
            task.future.set_result(made)
        finally:
            with self._lock:
                del self._running[task.key]

    def _next(self) -> tuple[_Task | None, dict[Hashable, deque[_Task]]]:
        """Take the task to be done next, and say from which queues."""
        with self._lock:
            for queues in (self._urgent, self._patient):
                task = self._pop(queues)
                if task is not None:
                    return task, queues
            task = self._pop(self._ahead) if self._ahead_running < self._ahead_most else None
            self._ahead_running += task is not None
            return task, self._ahead

    def _next_urgent(self) -> _Task | None:
        with self._lock:
            return self._pop(self._urgent)

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
