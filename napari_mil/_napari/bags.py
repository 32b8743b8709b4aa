"""Features that were made elsewhere, dropped on an open slide: their patches as lines, and where a model looks on them.

Lines that continue one another are drawn as one, so that a hundred thousand patches are a few thousand lines: the
window redraws them as fast as a picture, they lie where the file says to the fraction of a pixel, and, having the same
width on the screen at every magnification, hide nothing up close.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import FeaturesError, OtherSlideError
from ..progress import Progress
from .layers import KEY, placement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Layer
    from numpy.typing import NDArray

    from ..features import EncoderInfo, Features
    from ..maps import AttentionMap
    from ..models import ModelEntry
    from ..progress import Steps
    from ..slides import SlideRef
    from ..tiling import TileGrid
    from .reader import LayerData

_COLOUR = "#0b6fb8"
_WIDTH_PX = 1.5
"""Width of the lines on the screen."""
_WIDEST = 1 / 6
"""And at most this part of a patch, where patches are small on the screen."""
_FINEST_PX = 0.4
_MOST_LINES = 30_000
"""Of more lines the width stays as it is: setting it anew would stop the window."""
_GAP_PX = 1.0
"""Tools round places to whole level-0 pixels: a line goes on over such a gap."""


@dataclass(frozen=True, slots=True, eq=False)
class Bag:
    """Features of a slide, and the model to see them with.

    Parameters
    ----------
    features : Features
        The features, of the slide at hand.
    path : Path
        Their file.
    tool : str
        Who wrote it.
    model : Path or None
        The file of a model that takes them.
    note : str
        What there is to say about the model: what is trusted, or why there is none.
    """

    features: Features
    path: Path
    tool: str
    model: Path | None
    note: str


def read_steps(
    path: Path, slide: SlideRef, patch_size: float | None, models: Sequence[ModelEntry], preferred: Path | None
) -> Steps[Bag]:
    """Read a feature file for the slide at hand and look for a model; for a thread.

    Parameters
    ----------
    path : Path
        Of any known tool.
    slide : SlideRef
        The slide, with the scale in force.
    patch_size : float or None
        Edge of a patch in level-0 pixels, where the person said it.
    models : sequence of ModelEntry
        The models at hand.
    preferred : Path or None
        The one chosen.

    Yields
    ------
    Progress
        Once.

    Returns
    -------
    Bag
        The features.

    Raises
    ------
    FeaturesError
        As `read_foreign`, in words for a window.
    """
    from ..features import read_foreign, recognise

    yield Progress("Reading features")
    try:
        features = read_foreign(path, slide=slide, patch_size=patch_size)
    except OtherSlideError as err:
        raise OtherSlideError(err.found, "Open the slide that it was made from, or correct the scale.") from err
    if len(features) == 0:
        raise FeaturesError(f"{path} holds no patches. Make it again with the tool that wrote it.")
    kind = recognise(path)
    model, note = fitting_model(features.encoder, models, preferred)
    return Bag(features, path, kind.tool if kind else "", model, note)


def attention_steps(bag: Bag, model: Path) -> Steps[AttentionMap]:
    """Compute where a model looks on features; for a thread, since PyTorch takes seconds to load.

    Parameters
    ----------
    bag : Bag
        The features.
    model : Path
        The model's file.

    Yields
    ------
    Progress
        Once.

    Returns
    -------
    AttentionMap
        The same as without a window.
    """
    yield Progress("Running the model")
    from ..features import choose_device
    from ..maps import attention_map
    from ..models import load_model

    return attention_map(load_model(model), bag.features, device=choose_device("auto").device)


def fitting_model(
    encoder: EncoderInfo, models: Sequence[ModelEntry], preferred: Path | None
) -> tuple[Path | None, str]:
    """Choose a model that takes features: the preferred one if it does, else the first that does.

    Parameters
    ----------
    encoder : EncoderInfo
        What the features' file says of their encoder.
    models : sequence of ModelEntry
        The models at hand.
    preferred : Path or None
        The one that is chosen in the Run tab.

    Returns
    -------
    (Path or None, str)
        The model's file, and a sentence on what is trusted, or on why there is none; empty where there is nothing to
        say.
    """
    from ..models import check_fit

    cards = [(entry.path, entry.card) for entry in models if entry.card is not None and not entry.reason]
    cards.sort(key=lambda one: one[0] != preferred)
    for path, card in cards:
        if check_fit(card, encoder) is None:
            unnamed = bool(card.encoder) and not encoder.name
            title = card.title or path.stem
            trusted = f'The file does not say which encoder made its features; "{title}" takes those of {card.encoder}.'
            return path, trusted if unnamed else ""
    made_by = f" of {encoder.name}" if encoder.name else ""
    found = f"No model at hand takes these {encoder.dim:,} numbers per patch{made_by}"
    if not cards:
        return None, f"{found}: there is none. Open a model file in the Run tab."
    takes = sorted({(card.in_features, card.encoder) for _, card in cards})
    sizes = ", ".join(f"{size:,}" + (f" ({name})" if name else "") for size, name in takes)
    alike = next((card for _, card in cards if card.in_features == encoder.dim), None)
    reason = f" {check_fit(alike, encoder)}" if alike is not None else ""
    return None, f"{found}: those at hand take {sizes}.{reason}"


def grid_layer_data(bag: Bag, zoom: float) -> LayerData:
    """Return layer data of the edges of patches.

    Parameters
    ----------
    bag : Bag
        The features.
    zoom : float
        Screen pixels per world unit, for the lines' width.

    Returns
    -------
    (data, attributes, "vectors")
        In microns.
    """
    features = bag.features
    grid, slide = features.grid, features.slide
    place = placement(slide.mpp)
    lines = grid_lines(grid)
    known = {
        "bag_of": slide.quickhash,
        "mpp": slide.mpp,
        "source": str(bag.path),
        "tool": bag.tool,
        "patches": len(grid),
        "tile_l0_px": grid.tile_l0,
        "tile_um": grid.tile_um,
        "encoder": features.encoder.name,
        "numbers": int(features.values.shape[1]),
        "note": bag.note,
    }
    attributes = {
        "name": f"Patches: {bag.path.name} ({bag.tool})",
        "edge_color": _COLOUR,
        "edge_width": _width(grid.tile_l0, min(place["scale"]), zoom),
        "vector_style": "line",
        "opacity": 0.8,
        # tiles begin on pixel edges (0 is the slide's corner); napari's 0 is the centre of the first pixel
        "translate": tuple(-0.5 * one for one in place["scale"]),
        "metadata": {KEY: known},
        **place,
    }
    return lines, attributes, "vectors"


def grid_lines(grid: TileGrid) -> NDArray[np.float64]:
    """Return the edges of all tiles, those that continue one another as one line.

    Parameters
    ----------
    grid : TileGrid
        The tiles.

    Returns
    -------
    (M, 2, 2) float64
        Beginning and direction, (row, col), level-0 pixels, 0 being the slide's corner.
    """
    return np.concatenate([_edges_along(grid.l0_rc, grid.tile_l0, axis) for axis in (0, 1)])


def _edges_along(l0_rc: NDArray[np.int64], tile_l0: float, axis: int) -> NDArray[np.float64]:
    """Return the lines at right angles to an axis: near and far edge of each tile, joined where they touch."""
    at = np.concatenate([l0_rc[:, axis], l0_rc[:, axis] + tile_l0])
    start = np.tile(l0_rc[:, 1 - axis], 2).astype(np.float64)
    order = np.lexsort((start, at))
    at, start = at[order], start[order]
    new = np.ones(len(at), np.bool_)
    new[1:] = (np.diff(at) != 0) | (np.diff(start) > tile_l0 + _GAP_PX)
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(at)) - 1
    lines = np.zeros((len(first), 2, 2))
    lines[:, 0, axis], lines[:, 0, 1 - axis] = at[first], start[first]
    lines[:, 1, 1 - axis] = start[last] + tile_l0 - start[first]
    return lines


def fit_width(layer: Layer, zoom: float) -> None:
    """Keep the lines of a grid as wide on the screen as they were.

    Parameters
    ----------
    layer : napari layer
        Any; what is no grid of patches is left alone.
    zoom : float
        Screen pixels per world unit.
    """
    known = layer.metadata.get(KEY, {})
    if "bag_of" not in known or len(layer.data) > _MOST_LINES:
        return
    width = _width(known["tile_l0_px"], float(np.min(layer.scale)), zoom)
    if not math.isclose(width, layer.edge_width, rel_tol=0.2):
        layer.edge_width = width


def _width(tile_l0: float, um_per_px: float, zoom: float) -> float:
    """Return the lines' width in level-0 pixels."""
    wanted, finest = _WIDTH_PX / (zoom * um_per_px), _FINEST_PX / (zoom * um_per_px)
    return max(finest, min(wanted, tile_l0 * _WIDEST))
