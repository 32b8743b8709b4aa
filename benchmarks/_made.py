"""Files for the survey of faults: a slide in each further way of storing one, and files made to do harm."""

from __future__ import annotations

import json
import os
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import Image


def made_slides(folder: Path) -> list[Path]:
    """Write a slide in each further way of storing one."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8).repeat(10, 0).repeat(10, 1)
    half = pixels[::2, ::2]
    tifffile.imwrite(folder / "strips.tif", pixels, photometric="rgb", compression="lzw", rowsperstrip=32)
    tifffile.imwrite(folder / "planes.tif", np.moveaxis(pixels, 2, 0), photometric="rgb", planarconfig="separate")
    with tifffile.TiffWriter(folder / "pyramid.tif", bigtiff=True) as tiff:
        for level, kind in ((pixels, 0), (half, 1)):
            tiff.write(level, tile=(128, 128), photometric="rgb", compression="jpeg", subfiletype=kind)
    with tifffile.TiffWriter(folder / "levels.ome.tif") as tiff:
        tiff.write(
            pixels, tile=(128, 128), photometric="rgb", compression="deflate", subifds=1, metadata={"axes": "YXS"}
        )
        tiff.write(half, tile=(128, 128), photometric="rgb", compression="deflate", subfiletype=1)
    Image.fromarray(pixels).save(folder / "picture.png")
    Image.fromarray(pixels).save(folder / "picture.jpg", quality=90)
    _zarr_slide(folder / "slide.zarr", [pixels, half])
    return sorted(folder.iterdir())


def bombs(folder: Path) -> list[Path]:
    """Write files that promise more than they hold, lead in circles, or are no files at all."""
    made: list[Path] = []

    def keep(name: str, data: bytes) -> None:
        (folder / name).write_bytes(data)
        made.append(folder / name)

    tile = imagecodecs.jpeg8_encode(np.zeros((256, 256, 3), np.uint8))
    large = imagecodecs.jpeg8_encode(np.zeros((8192, 8192, 3), np.uint8))
    keep("two billion pixels a side.tif", _tiff(2**31 - 1, 2**31 - 1, 256, 7, [tile]))
    keep("a million pixels a side.tif", _tiff(2**20, 2**20, 256, 7, [tile]))
    keep("one tile of 60000.tif", _tiff(60_000, 60_000, 60_000 // 16 * 16, 7, [tile]))
    keep("picture larger than its tile.tif", _tiff(512, 512, 256, 7, [large] * 4))
    keep("tile that inflates a thousandfold.tif", _tiff(512, 512, 256, 8, [zlib.compress(bytes(2**28))] * 4))
    keep("tiles of no size.tif", _tiff(512, 512, 0, 7, [tile]))
    keep("directory that follows itself.tif", _tiff(512, 512, 256, 7, [tile] * 4, next_directory=8))
    keep("claims of 65535 tags.tif", b"II*\0" + struct.pack("<IH", 8, 65535) + bytes(2000))
    header = struct.pack(">II5B", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0)
    keep("two billion pixels a side.png", b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IEND", b""))
    header = struct.pack(">II5B", 60_000, 60_000, 8, 2, 0, 0, 0)
    keep("sixty thousand a side.png", b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IEND", b""))
    at = tile.index(b"\xff\xc0") + 5
    keep("sixty thousand a side.jpg", tile[:at] + struct.pack(">HH", 65_000, 65_000) + tile[at + 4 :])
    keep("empty.svs", b"")
    keep("300 bytes.svs", tile[:300])
    keep("text.tif", b"II*\0" + b"not a slide at all " * 20)
    laughs = '<?xml version="1.0"?><!DOCTYPE OME [<!ENTITY a "ha">' + "".join(
        f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    description = (laughs + "]><OME xmlns='http://www.openmicroscopy.org/Schemas/OME/2016-06'>&i;</OME>").encode()
    tifffile.imwrite(folder / "laughs.ome.tif", np.zeros((64, 64, 3), np.uint8), description=description, metadata=None)
    made.append(folder / "laughs.ome.tif")
    made.append(_zarr(folder / "a trillion pixels.zarr"))
    (folder / "folder.svs").mkdir()
    (folder / "round.svs").symlink_to(folder / "round.svs")
    os.mkfifo(folder / "pipe.svs")
    return [*made, folder / "folder.svs", folder / "round.svs", folder / "pipe.svs", folder / "not there.svs"]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _tiff(
    width: int, height: int, tile_px: int, compression: int, tiles: list[bytes], next_directory: int = 0
) -> bytes:
    """Return a tiled RGB TIFF that says what it is told to say, with as many tiles as are given."""
    tags = 12
    at = 8 + 2 + 12 * tags + 4
    bits, offsets, counts = at, at + 6, at + 6 + 4 * len(tiles)
    data = counts + 4 * len(tiles)
    starts = [data + sum(map(len, tiles[:k])) for k in range(len(tiles))]
    lengths = [len(one) for one in tiles]
    alone = len(tiles) == 1
    entries = [
        (254, 4, 1, 0),
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 3, bits),
        (259, 3, 1, compression),
        (262, 3, 1, 6 if compression == 7 else 2),
        (277, 3, 1, 3),
        (284, 3, 1, 1),
        (322, 4, 1, tile_px),
        (323, 4, 1, tile_px),
        (324, 4, len(tiles), starts[0] if alone else offsets),
        (325, 4, len(tiles), lengths[0] if alone else counts),
    ]
    directory = struct.pack("<H", tags) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    places = struct.pack(f"<{len(tiles)}I", *starts) + struct.pack(f"<{len(tiles)}I", *lengths)
    return (
        struct.pack("<2sHI", b"II", 42, 8)
        + directory
        + struct.pack("<I", next_directory)
        + struct.pack("<3H", 8, 8, 8)
        + places
        + b"".join(tiles)
    )


def _zarr_slide(path: Path, levels: list[np.ndarray]) -> None:
    """Write an OME-Zarr folder in chunks of 256 pixels, as bioformats2raw lays it out."""
    datasets = []
    for index, level in enumerate(levels):
        place = path / "0" / str(index)
        place.mkdir(parents=True)
        rows, cols = (-(-edge // 256) for edge in level.shape[:2])
        for row, col in np.ndindex(rows, cols):
            part = level[row * 256 : row * 256 + 256, col * 256 : col * 256 + 256]
            chunk = np.zeros((3, 256, 256), np.uint8)
            chunk[:, : part.shape[0], : part.shape[1]] = np.moveaxis(part, 2, 0)
            (place / f"0.{row}.{col}").write_bytes(zlib.compress(chunk.tobytes(), 1))
        described = {"zarr_format": 2, "shape": [3, *level.shape[:2]], "chunks": [3, 256, 256], "dtype": "|u1"}
        described |= {"compressor": {"id": "zlib", "level": 1}, "fill_value": 0, "filters": None, "order": "C"}
        (place / ".zarray").write_text(json.dumps(described))
        steps = [{"type": "scale", "scale": [1, 0.5 * 2**index, 0.5 * 2**index]}]
        datasets.append({"path": str(index), "coordinateTransformations": steps})
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    image = {"version": "0.4", "axes": axes, "datasets": datasets}
    (path / "0" / ".zattrs").write_text(json.dumps({"multiscales": [image]}))
    (path / ".zattrs").write_text(json.dumps({"bioformats2raw.layout": 3}))
    for group in (path, path / "0"):
        (group / ".zgroup").write_text('{"zarr_format": 2}')


def _zarr(path: Path) -> Path:
    (path / "0").mkdir(parents=True)
    axes = [{"name": "c", "type": "channel"}, {"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    scale = [{"type": "scale", "scale": [1, 1, 1]}]
    multiscales = [{"version": "0.4", "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}]
    (path / ".zgroup").write_text('{"zarr_format": 2}')
    (path / ".zattrs").write_text(json.dumps({"multiscales": multiscales}))
    array = {"zarr_format": 2, "shape": [3, 10**6, 10**6], "chunks": [3, 10**6, 10**6], "dtype": "|u1", "order": "C"}
    (path / "0" / ".zarray").write_text(json.dumps(array | {"compressor": None, "fill_value": 0, "filters": None}))
    return path
