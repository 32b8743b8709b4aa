"""What napari's File > Open takes, declines, and shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from npe2 import PluginManifest
from PIL import Image

from napari_mil._napari.reader import get_reader, read_maps, read_slides
from napari_mil._napari.writer import write_map
from napari_mil.errors import SlideError
from napari_mil.slides import SLIDE_EXTENSIONS


def test_a_real_slide_opens_in_microns_with_exact_levels(shared_data: Path) -> None:
    path = shared_data / "slides" / "breast-lobular-10x.tif"
    reader = get_reader(str(path))
    assert reader is not None
    [(pyramid, attributes, kind)] = reader(str(path))
    assert kind == "image"
    assert pyramid[0].shape == (13812, 29382, 3)
    assert max(pyramid[-1].shape[:2]) <= 1024
    assert attributes["scale"] == pytest.approx((1.0112, 1.0112))
    assert attributes["units"] == "um"
    assert attributes["multiscale"]
    assert attributes["rgb"]
    assert attributes["name"] == "breast-lobular-10x"


def test_a_slide_without_scale_says_so_and_is_shown_in_pixels(shared_data: Path) -> None:
    [(_, attributes, _)] = read_slides(str(shared_data / "slides" / "tcga-jp2k-no-mpp.svs"))
    assert attributes["scale"] == (1.0, 1.0)
    assert attributes["units"] == "pixel"
    assert "no scale" in attributes["name"]


def test_a_dicom_folder_opens(shared_data: Path) -> None:
    folder = str(shared_data / "slides" / "cmu-1-dicom")
    reader = get_reader(folder)
    assert reader is not None
    [(pyramid, _, _)] = reader(folder)
    assert pyramid[0].shape == (2967, 2220, 3)


def test_what_is_no_slide_is_left_to_other_readers(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "plain.tif")
    (tmp_path / "b.h5").write_bytes(b"not hdf5")
    (tmp_path / "folder").mkdir()
    for name in ("a.png", "plain.tif", "b.h5", "folder", "missing.svs"):
        assert get_reader(str(tmp_path / name)) is None, name
    assert get_reader([]) is None


def test_a_broken_slide_gives_one_sentence_not_silence(shared_data: Path) -> None:
    path = str(shared_data / "slides" / "edge" / "broken.svs")
    reader = get_reader(path)
    assert reader is not None
    with pytest.raises(SlideError, match=r"broken\.svs"):
        reader(path)


def test_several_slides_open_side_by_side(small_cohort: Path) -> None:
    paths = [str(path) for path in sorted(small_cohort.parent.glob("*.tif"))]
    reader = get_reader(paths)
    assert reader is not None
    assert [attributes["name"] for _, attributes, _ in reader(paths)] == [Path(path).stem for path in paths]


def test_dropping_a_slide_on_the_window_sets_the_scale_bar(make_napari_viewer, small_slide: Path) -> None:
    from napari_mil._napari.viewers import canvas_overlay

    viewer = make_napari_viewer()
    [layer] = viewer.open(str(small_slide), plugin="napari-mil")
    assert canvas_overlay(viewer, "scale_bar").visible
    assert str(layer.units[0]) == "micrometer"
    np.testing.assert_array_equal(
        np.asarray(layer.data[0][100:140, 200:260]), layer.metadata["napari_mil"]["slide"].read(0, 100, 200, 40, 60)
    )


def test_the_manifest_is_valid_and_names_every_slide_ending() -> None:
    manifest = PluginManifest.from_distribution("napari-mil")
    manifest.validate_imports()
    [reader] = manifest.contributions.readers
    assert {f"*{ending}" for ending in SLIDE_EXTENSIONS} | {
        "*.h5",
        "*.pt",
        "*.pth",
        "*.safetensors",
        "*.napari-mil",
        "*.geojson",
        "*.geojson.gz",
        "*.xml",
        "*.png",
        "*.jpg",
        "*.jpeg",
    } == set(reader.filename_patterns)
    root = Path(__file__).resolve().parents[2]
    assert (root / "napari.yaml").read_text() == (root / "napari_mil" / "napari.yaml").read_text()


def test_sample_slides_open_with_their_lesions(make_napari_viewer) -> None:
    viewer = make_napari_viewer()
    slide, lesions = viewer.open_sample("napari-mil", "lesion")
    assert slide.level_shapes[0][0] > 4000
    assert len(lesions.data) >= 2
    low, high = np.min([d.min(0) for d in lesions.data], axis=0), np.max([d.max(0) for d in lesions.data], axis=0)
    assert (low > 0).all()
    assert (high < slide.level_shapes[0][:2]).all()
    np.testing.assert_allclose(lesions.scale, slide.scale)
    [normal] = viewer.open_sample("napari-mil", "normal")
    assert normal.name == "sample-normal"


def test_a_layer_that_shows_no_map_is_not_written(tmp_path: Path) -> None:
    assert write_map(str(tmp_path / "x.h5"), np.zeros((2, 2)), {"name": "cells", "metadata": {}}) == []
    assert not (tmp_path / "x.h5").exists()


def test_a_damaged_map_is_declined(tmp_path: Path, small_slide: Path, untrained_model: Path) -> None:
    from napari_mil.pipeline import run

    out = tmp_path / "out"
    run(small_slide, model=untrained_model, out=out, device="cpu", top_k=1)
    good = out / "attention.h5"
    assert get_reader(str(good)) is read_maps
    cut = tmp_path / "cut.h5"
    cut.write_bytes(good.read_bytes()[:2000])
    assert get_reader(str(cut)) is None
