"""Work done by threads a little ahead of whoever takes the results."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")

_HEARTBEAT_S = 0.1


def map_ahead(
    work: Callable[[In], Out],
    items: Iterable[In | None],
    *,
    threads: int,
    name: str,
    begin: Callable[[], None] | None = None,
) -> Generator[Out | None, None, None]:
    """Apply a function to items by threads and yield the results in the items' order, none of them far ahead.

    Closing the generator drops what has not begun and waits for what has.

    Parameters
    ----------
    work : callable
        What to do with an item; lets go of the interpreter lock while it works.
    items : iterable
        The items; a None among them is passed on, as a sign that their source is waiting.
    threads : int
        Threads; at most one item more than these is taken before its turn.
    name : str
        For the threads' names.
    begin : callable, optional
        Run once in each thread.

    Yields
    ------
    result or None
        None about every tenth of a second while waiting, so that the caller can report and be cancelled.
    """
    ahead: deque[Future[Out]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix=name, initializer=begin)
    try:
        for item in items:
            if item is None:
                yield None
            else:
                ahead.append(pool.submit(work, item))
            while ahead and (len(ahead) > threads + 1 or ahead[0].done()):
                yield _next(ahead)
        while ahead:
            yield _next(ahead)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _next(ahead: deque[Future[Out]]) -> Out | None:
    """Take the first result if it is there in time, else None."""
    return ahead.popleft().result() if wait([ahead[0]], timeout=_HEARTBEAT_S).done else None
