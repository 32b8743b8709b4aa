"""Indexing like numpy's on three axes, turned into windows to be read."""

from __future__ import annotations

from typing import Any

Span = tuple[int, int, "int | slice"]
"""The first element an index touches, how many from there on, and the index within those."""


def spans(key: Any, shape: tuple[int, ...]) -> tuple[Span, Span, Any]:
    """Return what an index touches of an array of (rows, columns, colours).

    Parameters
    ----------
    key : int, slice, Ellipsis or tuple of these
        As between the brackets of ``array[...]``.
    shape : (int, int, 3)
        The array's.

    Returns
    -------
    rows, cols : (int, int, int or slice)
        First element touched, how many from there on, and the index within those.
    channel : int or slice
        Index of the colours.

    Raises
    ------
    IndexError
        If there are more than three axes, or an index lies outside.
    """
    keys = list(key) if isinstance(key, tuple) else [key]
    if Ellipsis not in keys:
        keys.append(Ellipsis)
    at = keys.index(Ellipsis)
    keys[at : at + 1] = [slice(None)] * (4 - len(keys))
    if len(keys) != 3:
        raise IndexError(f"a slide's level has 3 axes (row, column, colour), not {len(keys)}")
    row, col, channel = keys
    return _span(row, shape[0]), _span(col, shape[1]), channel


def _span(index: Any, length: int) -> Span:
    if not isinstance(index, slice):
        return range(length)[index], 1, 0
    touched = range(length)[index]
    if not touched:
        return 0, 0, slice(0)
    first, last = min(touched[0], touched[-1]), max(touched[0], touched[-1])
    return first, last - first + 1, slice(None, None, index.step)
