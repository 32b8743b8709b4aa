"""An order of places in which a few of the first lie all over, and later ones between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def spread_out(places: NDArray[np.floating], spacing: float) -> NDArray[np.int64]:
    """Order places so that each pass covers all of them more densely than the one before.

    The first pass takes one place of all, the next one of each square of a lattice with half that edge, and so on down
    to squares of ``spacing``: in each square that holds none yet the one nearest its middle. What is left comes last.
    Within a pass the places keep the order in which they were given, so that neighbours that are read one after the
    other stay so; hence the last pass, of the most places, is read as it always was.

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
    return np.argsort(rank, kind="stable").astype(np.int64)
