"""Plain pictures, PNG and JPEG, up to gigapixels: decoded once, large ones onto the disk."""

from __future__ import annotations

import io
import mmap
import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import platformdirs
from PIL import Image, JpegImagePlugin, PngImagePlugin

from ..errors import SlideError
from ._array_source import ArraySource
from ._source import UnreadableRegionError
from ._together import Together

if TYPE_CHECKING:
    from numpy.typing import NDArray

_IN_MEMORY_PX = 64_000_000
"""A picture of so many pixels is held in memory (200 MB), a larger one in a file of the cache folder."""

_MOST_PX = 2**32
_MOST_PX_PER_BYTE = {"png": 8 * 1032, "jpeg": 512}
"""Deflate packs at most 1032 bytes into one, with up to 8 pixels each; a JPEG has a bit and more for 8 x 8 pixels."""

_SPARE_BYTES = 2**30
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_SIZES_IN = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
"""JPEG's frame headers, which hold the size."""


_BROKEN = (OSError, RuntimeError, ValueError, SyntaxError, MemoryError)
"""What Pillow and imagecodecs raise on damaged pictures; of a wrong length they ask for more memory than there is."""


def is_picture(file: Path) -> bool:
    """Tell from its first bytes whether a file is a PNG or JPEG.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with file.open("rb") as opened:
        return opened.read(8).startswith((_PNG, _JPEG))


class PictureSource(ArraySource):
    """A PNG or JPEG file, decoded when first read; see `Source`.

    Parameters
    ----------
    file : pathlib.Path
        The file.

    Raises
    ------
    SlideError
        If it is damaged, or too large.
    """

    name = "decoding the whole picture once"
    keeps_rest = True

    def __init__(self, file: Path) -> None:
        self._lock = threading.Lock()
        self._together: Together[NDArray[Any]] = Together()
        self._pixels: NDArray[Any] | None = None
        self._rests = 0
        self._damage: UnreadableRegionError | None = None
        shape, channels, depth = _header(file)
        if shape[0] * shape[1] > _MOST_PX or min(shape) < 1:
            raise SlideError(f"{file} claims {shape[1]:,} x {shape[0]:,} pixels, more than can be shown.")
        with file.open("rb") as opened:
            kind = "png" if opened.read(8) == _PNG else "jpeg"
        if shape[0] * shape[1] > _MOST_PX_PER_BYTE[kind] * file.stat().st_size:
            raise SlideError(
                f"{file} claims {shape[1]:,} x {shape[0]:,} pixels, more than its bytes can hold. It is damaged or cut "
                "short; copy it again."
            )
        self._large = shape[0] * shape[1] > _IN_MEMORY_PX
        if self._large and (depth != 8 or channels not in (1, 3)):
            raise SlideError(
                f"{file} is too large for its kind of picture ({channels} channels of {depth} bits). "
                "Save it as a tiled TIFF in 8-bit RGB."
            )
        super().__init__(
            file,
            [shape],
            [(1, 1)],
            why="a plain picture can only be decoded as a whole",
            icc_profile=_profile(file, kind),
        )
        self._channels = channels

    def rest(self) -> None:
        with self._lock:
            self._pixels = None
            self._rests += 1

    def _window(self, level: int, row: int, col: int, height: int, width: int) -> NDArray[np.uint8]:
        with self._lock:
            pixels, rests = self._pixels, self._rests
        if pixels is None:
            # not under the lock, for which the window waits when it puts the slide to rest
            pixels = self._together.get("pixels", self._decode)
            with self._lock:
                if rests == self._rests:
                    self._pixels = pixels
        part = pixels[row : row + height, col : col + width]
        if part.ndim == 2:
            part = np.repeat(part[..., None], 3, axis=2)
        return np.array(part)

    def _decode(self) -> NDArray[Any]:
        if self._damage is not None:
            raise self._damage  # each window would decode the whole picture to no avail
        try:
            return _decode_large(self._path, self.level_shapes[0], self._channels) if self._large else self._small()
        except _BROKEN as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise SlideError(
                    f"{self._path} cannot be read ({error.strerror}). Check that its drive is connected."
                ) from error
            # Pillow calls its own OSError too
            self._damage = UnreadableRegionError(
                f"{self._path} cannot be decoded ({error}). The file is damaged; copy it again."
            )
            raise self._damage from error

    def _small(self) -> NDArray[np.uint8]:
        with Image.open(self._path) as image:
            if "A" in image.getbands() or "transparency" in image.info:
                rgba = image.convert("RGBA")
                flat = Image.new("RGB", image.size, self.background)
                flat.paste(rgba, mask=rgba.getchannel("A"))
                return np.asarray(flat)
            if image.mode.startswith("I"):  # 16 bits
                return np.asarray((np.asarray(image, np.uint32) >> 8).astype(np.uint8))
            return np.asarray(image.convert("RGB"))


def _decode_large(file: Path, shape: tuple[int, int], channels: int) -> NDArray[np.uint8]:
    """Decode straight into a file that is gone when nothing holds it any more; memory goes back as others need it."""
    import imagecodecs

    folder = Path(platformdirs.user_cache_dir("napari-mil"))
    folder.mkdir(parents=True, exist_ok=True)
    need = shape[0] * shape[1] * channels
    full = SlideError(
        f"Showing {file} takes {need / 2**30:.1f} GB in {folder}, which is not free. "
        "Free some space, or convert the picture to a tiled TIFF."
    )
    if shutil.disk_usage(folder).free < need + _SPARE_BYTES:
        raise full
    size = shape if channels == 1 else (*shape, channels)
    with tempfile.TemporaryFile(dir=folder) as scratch:
        if hasattr(os, "posix_fallocate"):
            # a map of what the disk turns out not to have ends the process where it is written to
            try:
                os.posix_fallocate(scratch.fileno(), 0, need)
            except OSError as error:
                raise full from error
        out = np.memmap(scratch, np.uint8, "w+", shape=size)
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        decode = imagecodecs.png_decode if data[:8] == _PNG else imagecodecs.jpeg8_decode
        decode(data, out=out)
    return out


def _profile(file: Path, kind: str) -> bytes | None:
    """Return the colour profile that a picture holds; Pillow's `open` would refuse a slide's size."""
    reader = PngImagePlugin.PngImageFile if kind == "png" else JpegImagePlugin.JpegImageFile
    try:
        with reader(file) as image:
            profile: bytes | None = image.info.get("icc_profile")
    except _BROKEN:  # decoding will tell what is wrong
        return None
    return profile or None


def _header(file: Path) -> tuple[tuple[int, int], int, int]:
    """Return (height, width), channels and bits per channel, from the header alone.

    By hand, since Pillow refuses pictures above a size that is right for pictures and wrong for slides.
    """
    with file.open("rb") as opened:
        start = opened.read(33)
        if start.startswith(_PNG) and len(start) == 33:
            width, height = int.from_bytes(start[16:20], "big"), int.from_bytes(start[20:24], "big")
            depth, kind = start[24], start[25]
            channels = {0: 1, 2: 3, 3: 4, 4: 2, 6: 4}.get(kind, 0)
            return (height, width), channels, depth
        opened.seek(2)
        found = _jpeg_frame(opened)
    if found is None:
        raise SlideError(f"{file} is a damaged picture: it does not say how large it is. Copy it again.")
    return found


def _jpeg_frame(opened: io.BufferedReader) -> tuple[tuple[int, int], int, int] | None:
    """Go from marker to marker to the one that holds the size."""
    while True:
        marker = opened.read(4)
        if len(marker) < 4 or marker[0] != 0xFF:
            return None
        length = int.from_bytes(marker[2:], "big")
        if marker[1] in _SIZES_IN:
            frame = opened.read(6)
            if len(frame) < 6:
                return None
            height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
            return (height, width), frame[5], frame[0]
        opened.seek(max(0, length - 2), io.SEEK_CUR)
