"""The raw scores as an OME-TIFF: what ImageJ, QuPath, napari and Python measure on."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..errors import ExportError
from ..files import replacing
from ..maps import Painter
from ._folders import check_ending
from ._picture import l0_mpp_yx

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ..maps import AttentionMap

_LARGE = 1024
"""Cells along an edge from which on the file has a pyramid."""
_TILE = (256, 256)


def write_map_ome_tiff(path: str | os.PathLike[str], amap: AttentionMap) -> Path:
    """Write every raw score of a map as one channel of a float32 OME-TIFF, one pixel per patch.

    Where patches overlap a pixel is one stride wide and holds the mean over the patches that cover its centre; pixels
    without a patch are NaN, which the file's description says. A score of several classes becomes a channel per class.
    Physical sizes and the place of the corner, from the outer edge of the slide's first pixel, are in microns. A large
    map has a pyramid: each level holds the means of the known pixels among four.

    Parameters
    ----------
    path : path
        Where; a name ending in ``.ome.tif`` or ``.ome.tiff``.
    amap : AttentionMap
        The map.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ExportError
        If the disk refuses or the name has another ending.
    """
    import tifffile

    target = Path(path)
    check_ending(target, (".ome.tif", ".ome.tiff"), "An OME-TIFF")
    painter = Painter(amap.grid)
    named = list(score_channels(amap))
    first = painter.paint(named[0][1])
    options: dict[str, Any] = {"photometric": "minisblack", "compression": "zlib", "tile": _TILE, "predictor": False}
    levels = _levels(first.values.shape)
    with replacing(target, ExportError) as partial, tifffile.TiffWriter(partial, bigtiff=True, ome=True) as file:
        planes: Any = np.stack([painter.paint(raw).values for _, raw in named])
        file.write(
            planes,
            subifds=levels,
            metadata=_metadata(amap, [name for name, _ in named], first.l0_origin, first.l0_step),
            software=f"napari-mil {__version__}",
            **options,
        )
        for _ in range(levels):
            planes = np.stack([_halved(plane) for plane in planes])
            file.write(planes, subfiletype=1, metadata=None, **options)
    return target


def score_channels(amap: AttentionMap) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield the raw scores of a map one by one: name (with the class where there are several) and (N,) values."""
    for name, score in amap.scores.items():
        if not score.per_class:
            yield name, score.raw
            continue
        for class_name, raw in zip(amap.prediction.class_names, score.raw, strict=True):
            yield f"{name}: {class_name}", raw


def _levels(shape: tuple[int, ...]) -> int:
    """Return how many halvings bring the long edge to a tile's size; none where the picture is small."""
    longest = max(shape)
    return 0 if longest <= _LARGE else int(np.ceil(np.log2(longest / _TILE[0])))


def _halved(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the means of the known pixels among each four."""
    rows, cols = plane.shape
    padded = np.pad(plane, ((0, rows % 2), (0, cols % 2)), constant_values=np.nan)
    blocks = padded.reshape(padded.shape[0] // 2, 2, -1, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # blocks without any
        return np.asarray(np.nanmean(blocks, axis=(1, 3)), np.float32)


def _metadata(amap: AttentionMap, names: list[str], l0_origin: tuple[float, float], l0_step: float) -> dict[str, Any]:
    mpp_y, mpp_x = l0_mpp_yx(amap)
    # the origin is a cell's centre with pixel centres on whole numbers; places count from pixel edges
    top, left = (o + 0.5 - l0_step / 2 for o in l0_origin)
    overlapping = amap.grid.stride_l0 < amap.grid.tile_l0 * (1 - 1e-6)
    return {
        "axes": "CYX",
        "Name": f"{amap.model.title or amap.model.pooling} on {Path(amap.slide.path).name}",
        "Description": (
            "Raw scores of a multiple-instance model, one pixel per patch. NaN: no patch there. "
            + ("Patches overlap: pixels are means over those that cover their centre. " if overlapping else "")
            + f"Top-left corner at level-0 pixel x {left:.3f}, y {top:.3f}; a pixel is {l0_step:.6g} level-0 pixels "
            f"wide. {amap.slide.quickhash or ''}"
        ).strip(),
        "PhysicalSizeX": l0_step * mpp_x,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": l0_step * mpp_y,
        "PhysicalSizeYUnit": "µm",
        "Channel": {"Name": names},
        "Plane": {
            "PositionX": [left * mpp_x] * len(names),
            "PositionXUnit": ["µm"] * len(names),
            "PositionY": [top * mpp_y] * len(names),
            "PositionYUnit": ["µm"] * len(names),
        },
    }
