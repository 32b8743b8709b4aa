"""OME-Zarr folders, versions 0.4 and 0.5, that hold one brightfield picture in levels.

Layout: https://ngff.openmicroscopy.org/0.5 (multiscales, axes, coordinateTransformations).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
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
    return bool(_multiscales(folder))


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
        try:
            image = _multiscales(folder)[0]
            names = [str(axis["name"] if isinstance(axis, Mapping) else axis) for axis in image["axes"]]
            group = zarr.open_group(str(folder), mode="r")
            self._arrays: list[Any] = [group[level["path"]] for level in image["datasets"]]
            first = dict(zip(names, self._arrays[0].shape, strict=True))
            scale = _scale(image, names)
        except (OSError, RuntimeError, LookupError, TypeError, ValueError) as error:
            raise SlideError(f"{folder} is a damaged OME-Zarr folder ({error}). Copy it again.") from error
        self._names = names
        if first.get("c", 1) not in (1, 3) or any(first.get(axis, 1) > 1 for axis in "tz"):
            raise SlideError(
                f"{folder} holds {first.get('c', 1)} channels, {first.get('z', 1)} planes and {first.get('t', 1)} "
                "times; only single RGB or grey pictures can be shown as a slide."
            )
        if self._arrays[0].dtype != np.uint8:
            raise SlideError(f"{folder} holds {self._arrays[0].dtype} values; only 8-bit pictures can be shown.")
        if any(int(np.prod(array.chunks, dtype=object)) > MAX_PIECE_BYTES for array in self._arrays):
            raise SlideError(f"{folder} is stored in chunks too large to be read one by one. Write it in smaller ones.")
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
        except (RuntimeError, ValueError, TypeError, LookupError) as error:
            raise UnreadableRegionError(
                f"{self._path} cannot be read at row {row}, column {col} of level {level} ({error}). Copy it again."
            ) from error
        if "c" not in kept:
            pixels, kept = pixels[None], ["c", *kept]
        pixels = np.transpose(pixels, [kept.index(name) for name in "yxc"])
        return np.ascontiguousarray(pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2))


def _multiscales(folder: Path) -> list[Any]:
    """Return the pictures that a folder's metadata describe."""
    for name in ("zarr.json", ".zattrs"):
        file = folder / name
        if not file.is_file() or file.stat().st_size > _MOST_BYTES:
            continue
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            attributes = found.get("attributes", {}).get("ome", {}) if name == "zarr.json" else found
            images = attributes.get("multiscales", [])
        except (ValueError, AttributeError):
            continue
        if isinstance(images, list) and images:
            return images
    return []


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
