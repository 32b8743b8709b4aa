from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from napari_mil.errors import ExportError
from napari_mil.export import write_map_ome_tiff
from napari_mil.maps import paint

OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"


def described(path):
    with tifffile.TiffFile(path) as file:
        image = ET.fromstring(file.ome_metadata).find(f"{OME}Image")
    return image, image.find(f"{OME}Pixels")


@pytest.fixture
def block(scene, map_of):
    """Return a map of 4 x 5 tiles with a hole, at (300, 200)."""
    corners = [(300 + 100 * r, 200 + 100 * c) for r in range(4) for c in range(5) if (r, c) != (1, 2)]
    rng = np.random.default_rng(0)
    amap = map_of(
        scene.slide,
        corners,
        tile=100.0,
        attention=(rng.random(19), "attention"),
        contribution=(rng.normal(size=(2, 19)), "contribution"),
    )
    return replace(amap, slide=replace(amap.slide, mpp=(0.25, 0.5)))


def test_values_names_sizes_and_place_by_hand(block, tmp_path):
    path = write_map_ome_tiff(tmp_path / "m.ome.tif", block)
    planes = tifffile.imread(path)
    assert planes.dtype == np.float32
    assert planes.shape == (3, 4, 5)
    raws = [block.scores["attention"].raw, *block.scores["contribution"].raw]
    for plane, raw in zip(planes, raws, strict=True):
        np.testing.assert_array_equal(plane, paint(raw, block.grid).values)
    assert np.isnan(planes[:, 1, 2]).all()
    assert np.isnan(planes).sum() == 3
    image, pixels = described(path)
    names = [channel.get("Name") for channel in pixels.findall(f"{OME}Channel")]
    assert names == ["attention", "contribution: normal", "contribution: tumour"]
    sizes = {name: float(pixels.get(name)) for name in ("PhysicalSizeX", "PhysicalSizeY")}
    assert sizes == pytest.approx({"PhysicalSizeX": 50.0, "PhysicalSizeY": 25.0})
    assert pixels.get("PhysicalSizeXUnit") == "µm"
    plane = pixels.find(f"{OME}Plane")
    # the outer edge of the first tile: column 200 at 0.5, row 300 at 0.25 µm per pixel
    assert (float(plane.get("PositionX")), float(plane.get("PositionY"))) == pytest.approx((100.0, 75.0))
    assert "NaN: no patch there" in image.findtext(f"{OME}Description")


def test_a_large_map_has_levels_of_means(scene, map_of, tmp_path):
    edge = 1100
    corners = np.argwhere(np.indices((3, edge)).sum(axis=0) % 2 == 0)
    raw = np.arange(len(corners), dtype=np.float32)
    amap = map_of(scene.slide, corners, tile=1.0, attention=(raw, "attention"))
    path = write_map_ome_tiff(tmp_path / "m.ome.tif", amap)
    with tifffile.TiffFile(path) as file:
        levels = [level.asarray() for level in file.series[0].levels]
    assert [level.shape[-2:] for level in levels] == [(3, 1100), (2, 550), (1, 275), (1, 138)]
    fine = np.pad(levels[0].reshape(3, edge), ((0, 1), (0, 0)), constant_values=np.nan)
    expected = np.nanmean(fine.reshape(2, 2, 550, 2), axis=(1, 3)).astype(np.float32)
    np.testing.assert_array_equal(levels[1].reshape(2, 550), expected)


def test_overlapping_patches_are_said_to_be_means(scene, map_of, tmp_path):
    amap = map_of(scene.slide, [(0, 0), (0, 50), (0, 100)], tile=100.0, attention=([1, 2, 3], "attention"))
    amap = replace(amap, grid=replace(amap.grid, stride_l0=50.0))
    path = write_map_ome_tiff(tmp_path / "m.ome.tif", amap)
    np.testing.assert_array_equal(tifffile.imread(path).reshape(2, 4)[0], [1, 1.5, 2.5, 3])
    image, pixels = described(path)
    assert "means over those that cover their centre" in image.findtext(f"{OME}Description")
    assert float(pixels.get("PhysicalSizeX")) == pytest.approx(25.0)


def test_another_ending_or_no_folder_is_said_in_words(block, tmp_path):
    with pytest.raises(ExportError, match=r"written as \.ome\.tif"):
        write_map_ome_tiff(tmp_path / "m.tif", block)
    with pytest.raises(ExportError, match="Cannot write"):
        write_map_ome_tiff(tmp_path / "no" / "m.ome.tif", block)
    assert list(tmp_path.iterdir()) == []
