"""What is opened that no scanner wrote: plain pictures, untiled TIFF, OME-TIFF, OME-Zarr; and what fastslide reads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from PIL import Image

from benchmarks._made import made_slides
from napari_mil.errors import SlideError
from napari_mil.slides import _picture as picture
from napari_mil.slides import can_open, open_slide
from napari_mil.slides._fastslide import FastSlideSource
from napari_mil.slides._segments import Segments
from napari_mil.slides._tiff_open import _ome_scale


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(3).integers(0, 256, (611, 903, 3), dtype=np.uint8)


def windows_agree(slide, pixels):
    """Compare windows at all corners and in the middle with the truth."""
    height, width = pixels.shape[:2]
    for row, col, h, w in ((0, 0, 9, 7), (height - 5, width - 6, 5, 6), (200, 301, 257, 311), (0, 0, height, width)):
        np.testing.assert_array_equal(slide.read(0, row, col, h, w), pixels[row : row + h, col : col + w])
    np.testing.assert_array_equal(np.asarray(slide.levels()[0]), pixels)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "lzw", "predictor": True, "rowsperstrip": 7},
        {"compression": "zlib", "rowsperstrip": 64},
        {"compression": "packbits"},
        {"planarconfig": "separate", "compression": "zlib", "rowsperstrip": 50},
        {"compression": "zlib", "tile": (128, 256), "bigtiff": True},
        {"byteorder": ">", "rowsperstrip": 11},
    ],
    ids=str,
)
def test_tiff_that_openslide_refuses_or_not_reads_exactly(tmp_path, pixels, options):
    path = tmp_path / "plain ü.tif"
    stored = np.moveaxis(pixels, 2, 0) if options.get("planarconfig") == "separate" else pixels
    tifffile.imwrite(
        path, stored, photometric="rgb", resolution=(40_000, 20_000), resolutionunit="CENTIMETER", **options
    )
    with open_slide(path) as slide:
        assert slide.reader == "direct decoding"
        assert slide.mpp == pytest.approx((0.5, 0.25))
        windows_agree(slide, pixels)


def test_grey_alpha_palette_and_sixteen_bits_become_rgb(tmp_path, pixels):
    grey = pixels[..., 0]
    path = tmp_path / "a.tif"

    def shown(data, **options):
        tifffile.imwrite(path, data, **options)
        with open_slide(path) as slide:
            return slide.read(0, 0, 0, *slide.shape), slide.notes

    grey_rgb = np.repeat(grey[..., None], 3, 2)
    np.testing.assert_array_equal(shown(grey, photometric="minisblack")[0], grey_rgb)
    np.testing.assert_array_equal(shown(grey, photometric="miniswhite")[0], 255 - grey_rgb)
    table = np.random.default_rng(0).integers(0, 256, (3, 256)).astype(np.uint16)
    np.testing.assert_array_equal(shown(grey, photometric="palette", colormap=table * 257)[0], table.T[grey])
    deep, notes = shown(pixels.astype(np.uint16) * 257, photometric="rgb")
    np.testing.assert_array_equal(deep, pixels)
    assert any("16-bit values are shown in 8 bits" in note for note in notes)
    alpha = np.full((*grey.shape, 1), 51, np.uint8)
    blended, _ = shown(np.concatenate([pixels, alpha], 2), photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_allclose(blended, pixels * 0.2 + 255 * 0.8, atol=1)


def test_ome_tiff_with_levels_and_microns(tmp_path, pixels):
    path = tmp_path / "slide.ome.tif"
    half = pixels[:610:2, :902:2]
    with tifffile.TiffWriter(path, ome=True) as writer:
        metadata = {"axes": "YXS", "PhysicalSizeX": 500, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.5}
        options = {"photometric": "rgb", "tile": (128, 128), "compression": "zlib"}
        writer.write(pixels, subifds=1, metadata=metadata, **options)
        writer.write(half, subfiletype=1, **options)
    with open_slide(path) as slide:
        assert slide.level_shapes == ((611, 903), (305, 451))
        assert slide.mpp == pytest.approx((0.5, 0.5))
        windows_agree(slide, pixels)
        np.testing.assert_array_equal(slide.read(1, 0, 0, 305, 451), half)


@pytest.mark.parametrize("twin", [False, True])
def test_the_scale_of_an_ome_tiff_is_that_of_the_picture_shown(tmp_path, pixels, twin):
    """A label comes first in the file, of another scale, be it as large as the slide or not."""
    path = tmp_path / "slide.ome.tif"
    options = {"photometric": "rgb", "tile": (128, 128), "compression": "zlib"}
    label = pixels[:100, :200] if not twin else 255 - pixels
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(label, metadata={"axes": "YXS", "PhysicalSizeX": 12.0, "PhysicalSizeY": 12.0}, **options)
        writer.write(pixels, metadata={"axes": "YXS", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5}, **options)
    with open_slide(path) as slide:
        shown = slide.read(0, 0, 0, *slide.shape)
        assert slide.shape == pixels.shape[:2]
        assert slide.mpp == pytest.approx((0.5, 0.25) if np.array_equal(shown, pixels) else (12.0, 12.0))


def test_the_scale_of_the_second_of_two_ome_pictures_of_one_size(pixels):
    xml = "<OME xmlns='http://www.openmicroscopy.org/Schemas/OME/2016-06'>" + "".join(
        f"<Image><Pixels SizeX='903' SizeY='611' PhysicalSizeX='{mpp}' PhysicalSizeY='{mpp}'>"
        f"<TiffData IFD='{index}'/></Pixels></Image>"
        for index, mpp in ((0, 12), (3, 0.5))
    )
    for index, mpp in ((0, 12.0), (3, 0.5)):
        page = SimpleNamespace(imagelength=611, imagewidth=903, index=index)
        assert _ome_scale(xml + "</OME>", page) == (mpp, mpp)
    assert _ome_scale(xml + "</OME>", SimpleNamespace(imagelength=9, imagewidth=9, index=0)) is None


@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_of_an_uncompressed_picture_only_the_rows_wanted_are_read(tmp_path, monkeypatch, pixels, planes, byteorder):
    """Though it is one strip, larger than any piece may be."""
    monkeypatch.setattr("napari_mil.slides._tiff.MAX_PIECE_BYTES", 50_000)
    monkeypatch.setattr("napari_mil.slides._segments._ROWS_BYTES", 10_000)
    stored = np.moveaxis(pixels, 2, 0) if planes == 3 else pixels
    options = {"planarconfig": "separate"} if planes == 3 else {}
    tifffile.imwrite(
        tmp_path / "a.tif", stored.astype(np.uint16) * 257, photometric="rgb", byteorder=byteorder, **options
    )
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert len(tiff.pages[0].dataoffsets) == planes
    with open_slide(tmp_path / "a.tif") as slide:
        real, read = slide._source._bytes._read, []
        monkeypatch.setattr(slide._source._bytes, "_read", lambda at, count: read.append(count) or real(at, count))
        np.testing.assert_array_equal(slide.read(0, 300, 400, 20, 50), pixels[300:320, 400:450])
        row = 903 * 2 * 3
        assert 20 * row <= sum(read) <= 20 * row + 2 * 10_000 * planes
        windows_agree(slide, pixels)
    with (tmp_path / "a.tif").open("r+b") as file:
        file.truncate(1_000_000)
    with pytest.raises(SlideError, match="can be read when it is saved in tiles"):
        open_slide(tmp_path / "a.tif")


def test_a_picture_in_one_compressed_strip_is_decoded_once(tmp_path, monkeypatch, pixels):
    monkeypatch.setattr("napari_mil.slides._tiff._KEPT_BYTES", 1000)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", compression="zlib", rowsperstrip=611)
    with open_slide(tmp_path / "a.tif") as slide:
        real, loads = Segments._load, []
        monkeypatch.setattr(Segments, "_load", lambda self, index: loads.append(index) or real(self, index))
        for row in range(0, 600, 100):
            np.testing.assert_array_equal(slide.read(0, row, 5, 9, 9), pixels[row : row + 9, 5:14])
        assert loads == [0]
    monkeypatch.setattr("napari_mil.slides._tiff.MAX_PIECE_BYTES", 50_000)
    with pytest.raises(SlideError, match=r"pieces of 611 x 903 pixels, too large .* saved in tiles"):
        open_slide(tmp_path / "a.tif")


def test_fluorescence_is_refused_in_a_sentence(tmp_path):
    path = tmp_path / "stack.ome.tif"
    tifffile.imwrite(path, np.zeros((5, 300, 400), np.uint16), metadata={"axes": "CYX"}, ome=True)
    with pytest.raises(SlideError, match=r"5 colour channels \(fluorescence\?\)"):
        open_slide(path)
    assert not can_open(path)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("kind", ["rgb.png", "grey.png", "rgb.jpg", "grey.jpg"])
def test_pictures_small_and_large(tmp_path, monkeypatch, pixels, kind, large):
    if large:
        monkeypatch.setattr(picture, "_IN_MEMORY_PX", 1000)
        monkeypatch.setattr(picture.platformdirs, "user_cache_dir", lambda _: str(tmp_path / "cache"))
    path = tmp_path / kind
    truth = pixels if kind.startswith("rgb") else np.repeat(pixels[..., :1], 3, 2)
    Image.fromarray(pixels if kind.startswith("rgb") else pixels[..., 0]).save(path, quality=98)
    if path.suffix == ".jpg":
        truth = np.asarray(Image.open(path).convert("RGB"))
    with open_slide(path) as slide:
        assert slide.mpp is None
        windows_agree(slide, truth)
        assert isinstance(slide._source._pixels, np.memmap) == large
        slide.rest()
        np.testing.assert_array_equal(slide.read(0, 5, 6, 7, 8), truth[5:12, 6:14])
    assert not large or list((tmp_path / "cache").iterdir()) == []
    assert not can_open(path)  # of a photo's size: left to other readers


def test_transparent_png_lies_on_white(tmp_path, pixels):
    alpha = np.full(pixels.shape[:2], 255, np.uint8)
    alpha[:100] = 0
    Image.fromarray(np.dstack([pixels, alpha])).save(tmp_path / "a.png")
    with open_slide(tmp_path / "a.png") as slide:
        assert (slide.read(0, 0, 0, 100, 903) == 255).all()
        np.testing.assert_array_equal(slide.read(0, 100, 0, 511, 903), pixels[100:])


def test_a_full_disk_is_said_before_the_work(tmp_path, monkeypatch, pixels):
    monkeypatch.setattr(picture, "_IN_MEMORY_PX", 1000)
    monkeypatch.setattr(picture, "_SPARE_BYTES", 2**62)
    monkeypatch.setattr(picture.platformdirs, "user_cache_dir", lambda _: str(tmp_path))
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with open_slide(tmp_path / "a.png") as slide, pytest.raises(SlideError, match="which is not free"):
        slide.read(0, 0, 0, 5, 5)


def test_a_disk_that_fills_up_or_a_quota_is_said_too(tmp_path, monkeypatch, pixels):
    """There is space when asked, and none when it is taken: a map of the file would end the process."""
    monkeypatch.setattr(picture, "_IN_MEMORY_PX", 1000)
    monkeypatch.setattr(picture.platformdirs, "user_cache_dir", lambda _: str(tmp_path))
    asked: list[int] = []

    def refuse(descriptor: int, offset: int, count: int) -> None:
        asked.append(count)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", refuse, raising=False)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with open_slide(tmp_path / "a.png") as slide, pytest.raises(SlideError, match="which is not free"):
        slide.read(0, 0, 0, 5, 5)
    assert asked == [pixels.size]


def test_a_picture_can_be_let_go_while_it_is_decoded(tmp_path, monkeypatch, pixels):
    """The window does so when its layer is removed, and must not wait; nothing is kept of what was decoded."""
    Image.fromarray(pixels).save(tmp_path / "a.png")
    began, gate, real = threading.Event(), threading.Event(), picture.PictureSource._small

    def slow(self):
        began.set()
        gate.wait(20)
        return real(self)

    monkeypatch.setattr(picture.PictureSource, "_small", slow)
    with ThreadPoolExecutor(2) as threads, open_slide(tmp_path / "a.png") as slide:
        reader = threads.submit(slide.read, 0, 3, 4, 50, 60)
        began.wait(20)
        threads.submit(slide.rest).result(10)
        gate.set()
        np.testing.assert_array_equal(reader.result(20), pixels[3:53, 4:64])
        assert slide._source._pixels is None
        threads.submit(slide.close).result(10)
        with pytest.raises(SlideError, match="has been closed"):
            slide.read(0, 0, 0, 5, 5)


@pytest.mark.parametrize("version", [2, 3])
def test_ome_zarr(tmp_path, pixels, version):
    zarr = pytest.importorskip("zarr", reason="the extra 'formats' is not installed")
    folder = tmp_path / "slide.zarr"
    group = zarr.open_group(str(folder), mode="w", zarr_format=version)
    for level, data in enumerate((pixels, pixels[:610:2, :902:2])):
        array = group.create_array(str(level), shape=(3, *data.shape[:2]), chunks=(3, 200, 300), dtype="uint8")
        array[:] = np.moveaxis(data, 2, 0)
    axes = [{"name": "c", "type": "channel"}, *({"name": a, "type": "space", "unit": "micrometer"} for a in "yx")]
    scales = [[{"type": "scale", "scale": [1, 0.25 * 2**k, 0.3 * 2**k]}] for k in range(2)]
    image = {
        "axes": axes,
        "datasets": [{"path": str(k), "coordinateTransformations": scale} for k, scale in enumerate(scales)],
    }
    if version == 2:
        group.attrs["multiscales"] = [{**image, "version": "0.4"}]
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    assert can_open(folder)
    with open_slide(folder) as slide:
        assert slide.mpp == pytest.approx((0.25, 0.3))
        assert slide.level_shapes == ((611, 903), (305, 451))
        assert slide.level_tiles[0] == (200, 300)
        windows_agree(slide, pixels)
        first = slide.quickhash
    with open_slide(folder) as slide:
        assert slide.quickhash == first
    for chunk in folder.rglob("*"):
        if chunk.is_file() and "json" not in chunk.name and not chunk.name.startswith(".z"):
            chunk.write_bytes(b"rubbish")
    with open_slide(folder) as slide, pytest.raises(SlideError):
        slide.read(0, 0, 0, 100, 100)


def test_ome_zarr_as_bioformats2raw_lays_it_out(tmp_path):
    pytest.importorskip("zarr", reason="the extra 'formats' is not installed")
    made_slides(tmp_path)
    truth = tifffile.imread(tmp_path / "strips.tif")
    assert can_open(tmp_path / "slide.zarr")
    with open_slide(tmp_path / "slide.zarr") as slide:
        assert slide.mpp == (0.5, 0.5)
        assert slide.level_shapes == ((600, 800), (300, 400))
        np.testing.assert_array_equal(slide.read(0, 0, 0, 600, 800), truth)
        np.testing.assert_array_equal(slide.read(1, 0, 0, 300, 400), truth[::2, ::2])


@pytest.fixture
def write_zarr(tmp_path):
    """Return a function that writes an OME-Zarr folder: arrays by path, and what describes them."""
    zarr = pytest.importorskip("zarr", reason="the extra 'formats' is not installed")

    def write(axes, arrays, **image):
        group = zarr.open_group(str(tmp_path / "x.zarr"), mode="w", zarr_format=2)
        for path, data in arrays.items():
            if data is None:
                group.create_group(path)
            else:
                array = group.create_array(path, shape=data.shape, chunks=data.shape, dtype=data.dtype)
                array[...] = data
        datasets = [{"path": path} for path in arrays]
        group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets, **image}]
        return tmp_path / "x.zarr"

    return write


GREY = np.zeros((40, 50), np.uint8)


@pytest.mark.parametrize(
    ("axes", "arrays", "image", "says"),
    [
        (["y", "x"], {}, {"datasets": [{"path": "0"}]}, "damaged OME-Zarr"),
        (["a", "b"], {"0": GREY}, {}, "axes a, b; only pictures with y and x"),
        (["y", "y"], {"0": GREY}, {}, "axes y, y; only pictures with y and x"),
        (["y", "x", "c"], {"0": GREY}, {}, "damaged OME-Zarr"),
        (["y", "x"], {"0": None}, {}, "damaged OME-Zarr"),
        (["y", "x"], {"0": GREY}, {"coordinateTransformations": ["scale"]}, "damaged OME-Zarr"),
        (["y", "x"], {"0": GREY}, {"coordinateTransformations": 5}, "damaged OME-Zarr"),
        (["y", "x"], {"0": GREY}, {"datasets": []}, "fine to coarse|damaged OME-Zarr"),
        (["y", "x"], {"0": GREY, "1": GREY.astype(np.uint16)}, {}, "uint16 values"),
        (["y", "x"], {"0": GREY[:20], "1": GREY}, {}, "from fine to coarse"),
        (["c", "y", "x"], {"0": np.zeros((5, 40, 50), np.uint8)}, {}, "5 channels"),
        (["c", "y", "x"], {"0": np.zeros((3, 40, 50), np.uint16)}, {}, "uint16 values"),
        (["z", "y", "x"], {"0": np.zeros((4, 40, 50), np.uint8)}, {}, "4 planes"),
    ],
)
def test_zarr_of_something_else_is_refused_and_left_to_others(write_zarr, axes, arrays, image, says):
    folder = write_zarr(axes, arrays, **image)
    assert not can_open(folder)
    with pytest.raises(SlideError, match=says):
        open_slide(folder)


def test_a_grey_zarr_is_shown(write_zarr):
    data = np.random.default_rng(0).integers(0, 256, (40, 50), np.uint8)
    folder = write_zarr(["y", "x"], {"0": data})
    assert can_open(folder)
    with open_slide(folder) as slide:
        np.testing.assert_array_equal(slide.read(0, 0, 0, 40, 50), np.repeat(data[..., None], 3, 2))


@pytest.mark.parametrize("name", ["a.isyntax", "a.vsi", "a.qptiff"])
def test_what_fastslide_would_read_is_refused_in_a_sentence_when_damaged_or_without_it(tmp_path, name, monkeypatch):
    import sys

    path = tmp_path / name
    path.write_bytes(b"no slide at all" * 100)
    if "fastslide" in sys.modules or __import__("importlib.util").util.find_spec("fastslide"):
        with pytest.raises(SlideError, match="cannot be opened"):
            open_slide(path)
    monkeypatch.setitem(sys.modules, "fastslide", None)
    with pytest.raises(SlideError, match=r"needs the package fastslide\. Run: pip install 'napari-mil\[formats\]'"):
        open_slide(path)


@pytest.mark.parametrize("name", ["breast-lobular-10x.tif", "cmu-1-small-region.svs", "tcga-jp2k-no-mpp.svs"])
def test_fastslide_gives_the_same_pixels(shared_data, name):
    pytest.importorskip("fastslide", reason="the extra 'formats' is not installed")
    path = shared_data / "slides" / name
    other = FastSlideSource(path)
    with open_slide(path) as slide:
        rng = np.random.default_rng(0)
        for level, (rows, cols) in enumerate(slide.level_shapes):
            assert other.level_shapes[level] == (rows, cols)
            for _ in range(4):
                row, col = (int(rng.integers(0, max(1, edge - 300))) for edge in (rows, cols))
                h, w = min(300, rows), min(300, cols)
                ours, theirs = (s.read(level, row, col, h, w).astype(int) for s in (slide, other))
                assert np.abs(ours - theirs).mean() <= 2
    other.close()
