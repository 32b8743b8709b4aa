"""Opening: what is a slide, what is not and why, and what a slide says of itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_mil.errors import SlideError
from napari_mil.slides import SLIDE_EXTENSIONS, SlideRef, can_open, open_slide
from napari_mil.slides._colour import looks_ycbcr
from napari_mil.slides._metadata import background_colour, objective_power, slide_hash, slide_mpp


def test_a_slide_tells_its_geometry(fiducial_slide):
    with open_slide(fiducial_slide) as slide:
        assert slide.shape == (1801, 2203)
        assert slide.level_shapes == ((1801, 2203), (900, 1101), (333, 408))
        # 2 explains the sizes of the first level; nothing whole does those of the second: the ratios, unrounded
        assert slide.level_scales == ((1, 1), (2, 2), (1801 / 333, 2203 / 408))
        assert slide.level_downsamples == pytest.approx((1, 2, (1801 / 333 + 2203 / 408) / 2), rel=1e-12)
        assert slide.mpp == pytest.approx((0.2653, 0.2653), rel=1e-5)
        assert slide.vendor == "generic-tiff"
        assert slide.background == (255, 255, 255)
        assert slide.objective_power is None
        assert slide.associated == ()
        assert slide.notes == ()
        assert len(slide.quickhash) == 64
        assert slide.ref == SlideRef(str(fiducial_slide), slide.quickhash, slide.mpp, (1801, 2203))
        with pytest.raises(TypeError):
            slide.properties["openslide.vendor"] = "mine"


def test_mpp_is_y_then_x(write_slide, tmp_path):
    path = write_slide(tmp_path / "a.tif", [np.zeros((300, 300, 3), np.uint8)], mpp=(0.5, 0.25))
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx((0.5, 0.25), rel=1e-5)


def test_mpp_given_by_the_user_wins(fiducial_slide):
    with open_slide(fiducial_slide, mpp=0.5) as slide:
        assert slide.mpp == (0.5, 0.5)
        assert slide.ref.mpp == (0.5, 0.5)
    with open_slide(fiducial_slide, mpp=(0.5, 0.25)) as slide:
        assert slide.mpp == (0.5, 0.25)


@pytest.mark.parametrize("mpp", [0, -1, float("nan"), float("inf"), (0.5, 0)])
def test_nonsense_mpp_is_refused(fiducial_slide, mpp):
    with pytest.raises(ValueError, match="mpp must be positive"):
        open_slide(fiducial_slide, mpp=mpp)


def test_a_printing_resolution_is_no_scale(write_slide, tmp_path):
    path = write_slide(tmp_path / "dpi.tif", [np.zeros((300, 300, 3), np.uint8)], mpp=(25400 / 72, 25400 / 72))
    with open_slide(path) as slide:
        assert slide.mpp is None
        assert "impossible for a slide" in slide.notes[0]


@pytest.mark.parametrize("dpi", [300, 600, 1200, 2400])
@pytest.mark.parametrize("tiled", [True, False])  # OpenSlide tells the resolution of the one, we of the other
def test_pixels_per_inch_of_a_printer_are_no_scale_and_said_to_be_ignored(tmp_path, dpi, tiled):
    import tifffile

    options = {"tile": (256, 256)} if tiled else {"rowsperstrip": 50}
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.zeros((300, 300, 3), np.uint8),
        photometric="rgb",
        resolution=(dpi, dpi),
        resolutionunit="INCH",
        **options,
    )
    with open_slide(tmp_path / "a.tif") as slide:
        assert slide.mpp is None
        assert (
            slide.notes[0] == f"the file's {dpi} pixels per inch are a printing resolution, no scale, and were ignored"
        )


@pytest.mark.parametrize("tiled", [True, False])
def test_a_microscopes_scale_in_inches_is_believed(tmp_path, tiled):
    import tifffile

    options = {"tile": (256, 256)} if tiled else {"rowsperstrip": 50}
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.zeros((300, 300, 3), np.uint8),
        photometric="rgb",
        resolution=(50_800, 50_800),
        resolutionunit="INCH",
        **options,
    )
    with open_slide(tmp_path / "a.tif") as slide:
        assert slide.mpp == pytest.approx((0.5, 0.5))
        assert slide.notes == ()


@pytest.mark.parametrize(
    ("y", "x", "mpp"),
    [
        ("0.25", "0.5", (0.25, 0.5)),
        ("0.01", "20", (0.01, 20.0)),
        ("0.009", "0.25", None),
        ("0.25", "20.1", None),
        ("nan", "0.25", None),
        ("-0.25", "0.25", None),
        ("half", "0.25", None),
    ],
)
def test_scale_is_believed_within_reason(y, x, mpp):
    found, note = slide_mpp({"openslide.mpp-y": y, "openslide.mpp-x": x})
    assert found == mpp
    assert bool(note) == (mpp is None)


def test_absent_properties():
    assert slide_mpp({"openslide.mpp-x": "0.25"}) == (None, "")
    assert background_colour({}) == (255, 255, 255)
    assert background_colour({"openslide.background-color": "F1E2D3"}) == (0xF1, 0xE2, 0xD3)
    assert background_colour({"openslide.background-color": "nonsense"}) == (255, 255, 255)
    assert objective_power({}) is None
    assert objective_power({"openslide.objective-power": "20"}) == 20
    assert objective_power({"openslide.objective-power": "0"}) is None


def test_hash_without_quickhash_follows_content_not_place(tmp_path):
    first, copy, other = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    data = bytes(range(256)) * 1000
    first.write_bytes(data)
    copy.write_bytes(data)
    other.write_bytes(data[:-1] + b"x")
    assert slide_hash(first, {}) == slide_hash(copy, {}) != slide_hash(other, {})
    assert slide_hash(first, {}).startswith("partial:")
    assert slide_hash(first, {"openslide.quickhash-1": "ab"}) == "ab"


def test_what_is_no_slide_is_declined(tmp_path, fiducial_slide):
    text, picture = tmp_path / "notes.txt", tmp_path / "photo.tif"
    text.write_text("no slide")
    import tifffile

    tifffile.imwrite(picture, np.zeros((64, 64, 3), np.uint8), photometric="rgb")
    assert can_open(fiducial_slide)
    assert can_open(str(fiducial_slide))
    for path in (text, picture, tmp_path, tmp_path / "absent.svs"):
        assert not can_open(path)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: None, "does not exist"),
        (lambda p: p.mkdir(), "is a folder without a DICOM or OME-Zarr slide"),
        (lambda p: p.touch(), "is empty"),
        (lambda p: p.write_bytes(b"II*\0" + b"x" * 500), "named like a slide but is damaged"),
    ],
)
def test_each_failure_has_its_sentence(tmp_path, make, says):
    path = tmp_path / "slide.svs"
    make(path)
    with pytest.raises(SlideError, match=says) as caught:
        open_slide(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).count(". ") == 1  # what was found, then what to do


def test_other_files_hear_what_can_be_read(tmp_path):
    path = tmp_path / "letter.txt"
    path.write_text("Dear colleague")
    with pytest.raises(SlideError, match=r"is not a whole-slide image.*Aperio SVS.*OME-TIFF"):
        open_slide(path)


def test_a_file_that_may_not_be_read_says_so(fiducial_slide, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SlideError, match=r"Permission denied.*Check that you may read it"):
        open_slide(fiducial_slide)
    assert not can_open(fiducial_slide)


def test_a_truncated_slide_is_an_error_not_a_crash(fiducial_slide, tmp_path):
    cut = tmp_path / "cut.tif"
    cut.write_bytes(fiducial_slide.read_bytes()[:200])
    with pytest.raises(SlideError, match="damaged"):
        open_slide(cut)


def test_extensions_cover_the_real_slides(shared_data):
    folder = shared_data / "slides"
    for path in folder.rglob("*.*"):
        if path.is_file() and path.parent.name != "edge":
            assert path.suffix in SLIDE_EXTENSIONS
            assert can_open(path)
    assert not can_open(folder / "edge" / "broken.svs")


def test_a_dicom_folder_is_its_slide_in_its_colours(shared_data):
    with (
        open_slide(shared_data / "slides" / "cmu-1-dicom") as dicom,
        open_slide(shared_data / "slides" / "cmu-1-small-region.svs") as aperio,
    ):
        assert dicom.shape == aperio.shape == (2967, 2220)
        assert dicom.mpp == aperio.mpp == (0.499, 0.499)
        assert "YCbCr" in dicom.notes[0]
        assert aperio.associated == ("label", "macro", "thumbnail")
        assert aperio.objective_power == 20
        ours = dicom.read(0, 0, 0, *dicom.shape).astype(int)
        theirs = aperio.read(0, 0, 0, *aperio.shape).astype(int)
    # the DICOM was compressed once more; salmon glass would be off by 60 and more
    assert np.abs(ours - theirs).mean() < 5


def test_rgb_tissue_is_never_taken_for_ycbcr(shared_data):
    for name in ("breast-lobular-10x.tif", "cmu-1-small-region.svs", "tcga-jp2k-no-mpp.svs"):
        with open_slide(shared_data / "slides" / name) as slide:
            rgb, _ = slide.thumbnail(512)
            assert slide.notes == ()
        assert not looks_ycbcr(rgb)


def test_absent_scale_is_none(shared_data):
    with open_slide(shared_data / "slides" / "tcga-jp2k-no-mpp.svs") as slide:
        assert slide.mpp is None
        assert "scale unknown" in repr(slide)


def test_the_room_is_light():
    heavy = ("openslide", "dask", "scipy", "skimage", "PIL", "napari")
    code = f"import sys, napari_mil.slides, napari_mil.tiling; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
