"""How a map is shown in what is exported: the same choices as in the window."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from ..errors import ExportError
from ..maps import Cuts, above, patches_sentence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..maps import AttentionMap, CutBy, MapView


@dataclass(frozen=True, slots=True)
class Display:
    """How a map is shown.

    Parameters
    ----------
    score, scale : str or None
        As in `AttentionMap.view`.
    class_index : int or None
        As in `AttentionMap.view`.
    threshold : float or None
        Show what is at or above it on the scale shown; None shows all patches.
    inverted : bool
        Show what is below the threshold instead.
    colours : str
        Name of a colour map that suits the scale; empty takes the scale's own.
    opacity : float
        Of the colours over the slide, 0 to 1.
    smooth : bool
        Draw gradually from patch to patch. Pictures only: numbers stay those of the patches.
    """

    score: str | None = None
    scale: str | None = None
    class_index: int | None = None
    threshold: float | None = None
    inverted: bool = False
    colours: str = ""
    opacity: float = 0.6
    smooth: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.opacity <= 1:
            raise ValueError(f"opacity must be 0 to 1, not {self.opacity}")
        if self.threshold is not None and not np.isfinite(self.threshold):
            raise ValueError(f"threshold must be a finite number or None, not {self.threshold}")

    def view(self, amap: AttentionMap) -> MapView:
        """Return what is shown of a map.

        Raises
        ------
        MapError
            As in `AttentionMap.view`.
        ExportError
            If the colours do not suit the scale.
        """
        view = amap.view(self.score, self.scale, self.class_index)
        if self.colours and self.colours not in view.scale.colourmaps:
            raise ExportError(
                f'The colours "{self.colours}" do not suit the scale "{view.scale.name}". '
                f"Choose one of: {', '.join(view.scale.colourmaps)}."
            )
        return view

    def colourmap(self, view: MapView) -> str:
        """Return the name of the colour map in use."""
        return self.colours or view.scale.colourmap

    def shows(self, values: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Tell which values are shown; those that are not numbers never are."""
        known = np.isfinite(values)
        if self.threshold is None:
            return known
        upper = above(values, self.threshold)
        return np.asarray(known & ~upper if self.inverted else known & upper)

    def sentence(self, amap: AttentionMap, view: MapView) -> str:
        """Say how many patches are shown, and what area they are; without a full stop."""
        return patches_sentence(amap, view, self.threshold, inverted=self.inverted)

    def cut(self, amap: AttentionMap, by: CutBy, amount: float) -> Self:
        """Return the same with the threshold at a value, percentile, number of patches or area, see `Cuts.threshold`.

        Parameters
        ----------
        amap : AttentionMap
            The map.
        by : str
            "value", "percentile", "count" or "area".
        amount : float
            How much.

        Returns
        -------
        Display
            With that threshold.
        """
        return replace(self, threshold=Cuts(self.view(amap), amap.grid).threshold(by, amount))
