"""An order of places in which a few of the first lie all over, and later ones between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def spread_out(places: NDArray[np.floating], spacing: float) -> NDArray[np.int64]:
    """Order places so that each pass covers all of them more densely than the one before.

    The first pass takes one place of all, the next one of each square of a lattice with half that edge, and so on down
    to squares of ``spacing``: in each square that holds none yet the one nearest its middle. Such a pass goes over its
    places in van der Corput's order, so that it covers all evenly also while it lasts. What is left, most of the
    places, comes last and in the order in which it was given, so that neighbours that share something are still read
    one after the other.

    Parameters
    ----------
    places : (n, 2) float
        The places, in any unit.
    spacing : float
        Edge of the smallest squares, in that unit.

    Returns
    -------
    (n,) int64
        Positions in ``places``, each once.

    Raises
    ------
    ValueError
        If ``spacing`` is not positive.
    """
    if not spacing > 0:
        raise ValueError(f"spacing must be positive, not {spacing}")
    n = len(places)
    if n == 0:
        return np.empty(0, np.int64)
    corner = places.min(axis=0)
    extent = float((places.max(axis=0) - corner).max())
    passes = max(0, int(np.ceil(np.log2(max(extent, spacing) / spacing)))) + 1
    rank = np.full(n, passes, np.int64)
    for number in range(passes):
        edge = spacing * 2 ** (passes - 1 - number)
        square = np.floor((places - corner) / edge).astype(np.int64)
        off = ((places - corner - (square + 0.5) * edge) ** 2).sum(axis=1)
        # of each square what was taken before comes first, then what lies nearest its middle
        order = np.lexsort((off, rank == passes, square[:, 1], square[:, 0]))
        begins = np.r_[True, (np.diff(square[order], axis=0) != 0).any(axis=1)]
        chosen = order[begins]
        rank[chosen[rank[chosen] == passes]] = number
    members = [np.flatnonzero(rank == number) for number in range(passes + 1)]
    return np.concatenate([*(taken[_halving(len(taken))] for taken in members[:-1]), members[-1]])


def _halving(n: int) -> NDArray[np.int64]:
    """Return 0 to n - 1 in van der Corput's order: those with mirrored binary digits, ascending."""
    bits = max(1, (n - 1).bit_length())
    numbers = np.arange(1 << bits)
    mirrored = sum(((numbers >> k) & 1) << (bits - 1 - k) for k in range(bits))
    order = np.asarray(mirrored, np.int64)
    return order[order < n]
