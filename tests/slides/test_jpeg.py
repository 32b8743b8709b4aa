"""JPEG tiles go straight to where they belong, and damaged or odd ones spoil nothing else."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from napari_mil.errors import SlideError
from napari_mil.slides import Slide, UnreadableRegionError, empty_rgb, open_slide
from napari_mil.slides._file_bytes import FileBytes
from napari_mil.slides._openslide import OpenSlideSource

TILE = 64


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """Return a smooth picture, in which the far corner of the last tiles is empty: JPEG keeps it to a few levels."""
    rows, cols = np.indices((200, 300)) / 40
    return np.rint(127 + 100 * np.stack([np.sin(rows), np.cos(cols), np.sin(rows + cols)], axis=2)).astype(np.uint8)


@pytest.fixture(scope="module", params=["ycbcr", "rgb"])
def jpeg_slide(request: pytest.FixtureRequest, picture: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return it in JPEG tiles with tables of their own, in either way of storing colours."""
    path = tmp_path_factory.mktemp("jpeg") / f"{request.param}.tif"
    options = {"outcolorspace": request.param, "level": 95}
    tifffile.imwrite(
        path,
        picture,
        tile=(TILE, TILE),
        photometric="rgb",
        compression="jpeg",
        compressionargs=options,
        subsampling=(1, 1) if request.param == "ycbcr" else None,
        metadata=None,
    )
    return path


@pytest.mark.parametrize("shape", [(0, 5, 3), (1, 1, 3), (256, 256, 3), (3, 256, 256, 3)])
def test_empty_arrays_lie_where_decoding_is_fast(shape: tuple[int, ...]) -> None:
    for _ in range(5):
        array = empty_rgb(*shape)
        assert array.shape == shape
        assert array.dtype == np.uint8
        assert array.flags.c_contiguous
        assert array.flags.writeable
        if array.size:
            assert array.ctypes.data % 32 == 16


def test_tiles_are_what_openslide_decodes(jpeg_slide: Path, picture: np.ndarray) -> None:
    with open_slide(jpeg_slide) as slide, openslide.OpenSlide(jpeg_slide) as other:
        assert slide.reader == "direct decoding"
        assert slide._source._levels[0]._fills
        for row, col in ((0, 0), (64, 128), (128, 192)):  # whole tiles
            ours = slide.read(0, row, col, TILE, TILE)
            theirs = np.asarray(other.read_region((col, row), 0, (TILE, TILE)).convert("RGB"))
            np.testing.assert_allclose(ours.astype(int), theirs, atol=1)
            np.testing.assert_allclose(ours.astype(int), picture[row : row + TILE, col : col + TILE], atol=12)


@given(data=st.data())
def test_a_window_is_the_same_however_it_is_asked_for(
    data: st.DataObject, jpeg_whole: dict[Path, np.ndarray], jpeg_slides: dict[Path, Slide]
) -> None:
    """With an array to put it in or without, inside the slide or beyond, along tiles or across."""
    path = data.draw(st.sampled_from(list(jpeg_whole)))
    whole, slide = jpeg_whole[path], jpeg_slides[path]
    row, col = data.draw(st.integers(-70, 210)), data.draw(st.integers(-70, 310))
    if data.draw(st.booleans()):
        row, col = row // TILE * TILE, col // TILE * TILE
    height, width = (data.draw(st.sampled_from([0, 1, TILE, 100, 130])) for _ in range(2))
    expected = np.full((height, width, 3), 255, np.uint8)
    top, left, bottom, right = max(row, 0), max(col, 0), min(row + height, 200), min(col + width, 300)
    if top < bottom and left < right:
        expected[top - row : bottom - row, left - col : right - col] = whole[top:bottom, left:right]
    assert np.array_equal(slide.read(0, row, col, height, width), expected)
    room = np.full((height + 2, width + 2, 3), 7, np.uint8)  # not contiguous, where it must not write beyond
    out = room[1:-1, 1:-1]
    assert slide.read(0, row, col, height, width, out) is out
    assert np.array_equal(out, expected)
    assert (room[[0, -1]] == 7).all()
    assert (room[:, [0, -1]] == 7).all()


@pytest.fixture(scope="module")
def jpeg_slides(jpeg_slide: Path):
    """Return the slide by both readers."""
    with open_slide(jpeg_slide) as slide:
        other = Slide(OpenSlideSource(jpeg_slide), path=jpeg_slide, file=jpeg_slide)
        yield {jpeg_slide: slide, jpeg_slide.with_suffix(".by openslide"): other}
        other.close()


@pytest.fixture(scope="module")
def jpeg_whole(jpeg_slides: dict[Path, Slide]) -> dict[Path, np.ndarray]:
    return {path: slide.read(0, 0, 0, *slide.shape) for path, slide in jpeg_slides.items()}


@pytest.mark.parametrize("wrong", [np.empty((5, 6, 3), np.uint8), np.empty((6, 5, 3), np.float32), np.empty((6, 5))])
def test_an_array_that_does_not_fit_is_refused(jpeg_slide: Path, wrong: np.ndarray) -> None:
    with open_slide(jpeg_slide) as slide, pytest.raises(ValueError, match=r"out must be \(6, 5, 3\) uint8"):
        slide.read(0, 0, 0, 6, 5, wrong)


def test_an_array_that_must_not_be_written_to_is_refused_and_stays(jpeg_slide: Path) -> None:
    """Decoding would write over it all the same, and end the process where it is a map of a file."""
    out = np.full((TILE, TILE, 3), 7, np.uint8)
    out.flags.writeable = False
    with open_slide(jpeg_slide) as slide:
        for row in (0, 5, -5):
            with pytest.raises(ValueError, match="writeable"):
                slide.read(0, row, 0, TILE, TILE, out)
    assert (out == 7).all()


def rewritten(source: Path, path: Path, index: int, data: bytes) -> Path:
    """Copy a slide with one tile's bytes put at its end."""
    with tifffile.TiffFile(source) as tiff:
        page = tiff.pages.first
        offsets, counts = list(page.dataoffsets), list(page.databytecounts)
        places = page.tags["TileOffsets"].valueoffset, page.tags["TileByteCounts"].valueoffset
        sizes = (
            page.tags["TileOffsets"].valuebytecount // len(offsets),
            page.tags["TileByteCounts"].valuebytecount // len(counts),
        )
    content = bytearray(source.read_bytes())
    for place, size, value in zip(places, sizes, (len(content), len(data)), strict=True):
        content[place + index * size : place + (index + 1) * size] = value.to_bytes(size, "little")
    path.write_bytes(bytes(content) + data)
    return path


@pytest.mark.parametrize(
    ("size", "says"), [((TILE, TILE), None), ((TILE, TILE - 8), "smaller than it claims|cannot be"), (None, "decoded")]
)
def test_a_tile_of_another_size_or_none_at_all_is_said(
    jpeg_slide: Path, jpeg_whole: dict[Path, np.ndarray], tmp_path: Path, size: tuple[int, int] | None, says: str | None
) -> None:
    """It is not written into the neighbour's place, and the neighbours stay whole."""
    import imagecodecs

    space = {"outcolorspace": jpeg_slide.stem}
    grey = np.full((*size, 3), 90, np.uint8) if size else None
    data = b"\xff\xd8 no picture" * 9 if grey is None else imagecodecs.jpeg8_encode(grey, **space)
    with open_slide(rewritten(jpeg_slide, tmp_path / "a.tif", 1, data)) as slide:
        for col, height in ((TILE, TILE), (TILE + 3, 40)):  # the whole tile, and a part of it
            if says is None:
                assert np.abs(slide.read(0, 0, col, height, 40).astype(int) - 90).max() <= 2
            else:
                with pytest.raises(UnreadableRegionError, match=says):
                    slide.read(0, 0, col, height, TILE if col == TILE else 61)
        assert np.array_equal(slide.read(0, 0, 0, TILE, TILE), jpeg_whole[jpeg_slide][:TILE, :TILE])


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files through /proc")
def test_a_file_stays_open_for_who_reads_it_and_no_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(range(200)))
    file, real = FileBytes(path), os.pread

    def opened() -> int:
        links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
        return sum(os.path.realpath(link) == str(path) for link in links)

    def rest_meanwhile(number: int, count: int, offset: int) -> bytes:
        file.rest()
        assert opened() == 1  # its number must not go to another file now
        return real(number, count, offset)

    assert file.read(10, 3) == bytes([10, 11, 12])
    assert opened() == 1
    monkeypatch.setattr(os, "pread", rest_meanwhile)
    assert file.read(199, 5) == bytes([199])
    assert opened() == 0
    monkeypatch.setattr(os, "pread", real)
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda at: file.read(at, 1)[0], range(200))) == list(range(200))
    file.close()
    assert opened() == 0


def test_another_file_in_its_place_is_not_read_by_what_is_known_of_the_first(
    jpeg_slide: Path, tmp_path: Path, jpeg_whole: dict[Path, np.ndarray]
) -> None:
    path = Path(shutil.copy2(jpeg_slide, tmp_path / "a.tif"))
    with open_slide(path) as slide:
        expected = jpeg_whole[jpeg_slide][:TILE, :TILE]
        assert np.array_equal(slide.read(0, 0, 0, TILE, TILE), expected)
        slide.rest()
        os.utime(path, (0, path.stat().st_mtime + 1))  # as a network drive rounds it
        assert np.array_equal(slide.read(0, 0, 0, TILE, TILE), expected)
        slide.rest()
        path.write_bytes(path.read_bytes() + b" ")
        with pytest.raises(SlideError, match=r"has changed on disk since it was opened\. Open the slide"):
            slide.read(0, 0, 0, TILE, TILE)
