"""OME-Zarr folders, versions 0.4 and 0.5, that hold one brightfield picture in levels.

Layout: https://ngff.openmicroscopy.org/0.5 (multiscales, axes, coordinateTransformations; bioformats2raw.layout, where
pictures lie one folder further down, the slide before its label and macro).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SlideError
from ._array_source import ArraySource
from ._source import MAX_PIECE_BYTES, UnreadableRegionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_UM = {"meter": 1e6, "centimeter": 1e4, "millimeter": 1e3, "micrometer": 1.0, "nanometer": 1e-3}
_MOST_BYTES = 2**20  # of metadata


def is_ome_zarr(folder: Path) -> bool:
    """Tell whether a folder is an OME-Zarr picture.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    return bool(_multiscales(_picture_folder(folder)))


class ZarrSource(ArraySource):
    """An OME-Zarr folder; see `Source`.

    Parameters
    ----------
    folder : pathlib.Path
        The folder.

    Raises
    ------
    SlideError
        If it holds no picture that can be shown, or the package zarr is not installed.
    """

    name = "zarr"

    def __init__(self, folder: Path) -> None:
        try:
            import zarr
        except ImportError as error:
            raise SlideError(
                f"Reading {folder} needs the package zarr. Run: pip install 'napari-mil[formats]'"
            ) from error
        inner = _picture_folder(folder)
        try:
            image = _multiscales(inner)[0]
            names = [str(axis["name"] if isinstance(axis, Mapping) else axis) for axis in image["axes"]]
            group = zarr.open_group(str(inner), mode="r")
            self._arrays: list[Any] = [group[str(level["path"])] for level in image["datasets"]]
            scale = _scale(image, names)
        except (OSError, RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise SlideError(f"{folder} is a damaged OME-Zarr folder ({error}). Copy it again.") from error
        self._names = names
        wrong = next((why for array in self._arrays if (why := _why_not(array, names))), None)
        if wrong is None and not _go_down([self._of(array.shape) for array in self._arrays]):
            wrong = "holds levels that do not go from fine to coarse; write it again"
        if wrong is not None:
            raise SlideError(f"{folder} {wrong}.")
        mpp = {f"openslide.mpp-{axis}": repr(value) for axis, value in scale.items()}
        super().__init__(
            folder,
            [self._of(array.shape) for array in self._arrays],
            [self._of(array.chunks) for array in self._arrays],
            properties={"zarr.name": str(image.get("name", "")), **mpp},
            why="an OME-Zarr folder",
        )

    def _of(self, sizes: tuple[int, ...]) -> tuple[int, int]:
        return int(sizes[self._names.index("y")]), int(sizes[self._names.index("x")])

    def _window(self, level: int, row: int, col: int, height: int, width: int) -> NDArray[np.uint8]:
        windows = {"y": slice(row, row + height), "x": slice(col, col + width), "c": slice(None)}
        key = tuple(windows.get(name, 0) for name in self._names)
        kept = [name for name in self._names if name in windows]
        try:
            pixels = np.asarray(self._arrays[level][key])
        except OSError as error:
            raise SlideError(
                f"{self._path} can no longer be read ({error}). Check that its drive is connected."
            ) from error
        except Exception as error:  # codecs raise what they like: zlib.error is no kin of anything
            raise UnreadableRegionError(
                f"{self._path} cannot be read at row {row}, column {col} of level {level} ({error}). Copy it again."
            ) from error
        if "c" not in kept:
            pixels, kept = pixels[None], ["c", *kept]
        pixels = np.transpose(pixels, [kept.index(name) for name in "yxc"])
        return np.ascontiguousarray(pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2))


def _why_not(array: Any, names: list[str]) -> str | None:
    """Say why a level cannot be shown, a verb and what follows; None where it can."""
    import zarr

    if not isinstance(array, zarr.Array) or len(array.shape) != len(names) or min(array.shape) < 1:
        return "is a damaged OME-Zarr folder (what it describes is not what it holds); copy it again"
    if not {"y", "x"} <= set(names) or len(set(names)) != len(names):
        return f"has the axes {', '.join(names)}; only pictures with y and x can be shown"
    sizes = dict(zip(names, array.shape, strict=True))
    channels = sizes.get("c", 1)
    if channels not in (1, 3) or any(size > 1 for axis, size in sizes.items() if axis not in ("c", "y", "x")):
        return (
            f"holds {channels} channels, {sizes.get('z', 1)} planes and {sizes.get('t', 1)} times; only single RGB or "
            "grey pictures can be shown as a slide"
        )
    if array.dtype != np.uint8:
        return f"holds {array.dtype} values; only 8-bit pictures can be shown"
    if int(np.prod(array.chunks, dtype=object)) > MAX_PIECE_BYTES:
        return "is stored in chunks too large to be read one by one; write it in smaller ones"
    return None


def _go_down(shapes: list[tuple[int, int]]) -> bool:
    return bool(shapes) and all(h <= above_h and w <= above_w for (above_h, above_w), (h, w) in pairwise(shapes))


def _picture_folder(folder: Path) -> Path:
    """Return where a folder's picture is described: in itself or, as bioformats2raw writes it, one further down."""
    described = _described(folder)
    return folder / "0" if "multiscales" not in described and "bioformats2raw.layout" in described else folder


def _multiscales(folder: Path) -> list[Any]:
    """Return the pictures that a folder's metadata describe."""
    images = _described(folder).get("multiscales")
    return images if isinstance(images, list) else []


def _described(folder: Path) -> Mapping[str, Any]:
    """Return what a folder's metadata say of pictures."""
    for name in ("zarr.json", ".zattrs"):
        file = folder / name
        if not file.is_file() or file.stat().st_size > _MOST_BYTES:
            continue
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            attributes = found.get("attributes", {}).get("ome", {}) if name == "zarr.json" else found
        except (ValueError, AttributeError, RecursionError):
            continue
        if isinstance(attributes, Mapping) and attributes:
            return attributes
    return {}


def _scale(image: Mapping[str, Any], names: list[str]) -> dict[str, float]:
    """Return microns per pixel of the finest level by axis, where units are stated."""
    units = {axis["name"]: str(axis.get("unit")) for axis in image["axes"] if isinstance(axis, Mapping)}
    steps = np.ones(len(names))
    for described in (image["datasets"][0], image):
        for transform in described.get("coordinateTransformations", []):
            if transform.get("type") == "scale":
                steps = steps * np.asarray(transform["scale"], float)
    found = {}
    for axis in "yx":
        um = _UM.get(units.get(axis, ""))
        if um is not None:
            found[axis] = float(steps[names.index(axis)]) * um
    return found
