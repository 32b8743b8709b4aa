"""wsidata's folders, laid out as wsidata 0.12 (SpatialData 0.7, zarr 3) and older ones (zarr 2) lay them out."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from napari_mil.errors import FeaturesError
from napari_mil.features import EncoderInfo, Features, Format, read_foreign, recognise, write_foreign
from napari_mil.slides import SlideRef
from napari_mil.tiling import TileGrid

SLIDE = SlideRef("/slides/cmu-1.svs", "6335", (0.499, 0.499), (2967, 2220))
XY = np.array([(0, 0), (192, 0), (100, 300), (1500, 1200)], np.int64)
VALUES = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
SPEC = {
    "height": 128,
    "width": 128,
    "stride_height": 96,
    "stride_width": 96,
    "mpp": 1.0,
    "ops_level": 0,
    "ops_downsample": 2.004008016032064,
    "base_level": 0,
    "base_downsample": 2.004008016032064,
    "tissue_name": None,
}


@pytest.fixture
def libraries() -> tuple[Any, Any]:
    """Return zarr and pyarrow, which only the extra `wsidata` brings."""
    return pytest.importorskip("zarr"), pytest.importorskip("pyarrow")


def add_table(store: Any, name: str, values: np.ndarray, tile_ids: list[int]) -> None:
    table = store.create_group(f"tables/{name}")
    table.attrs.update(
        {
            "encoding-type": "anndata",
            "encoding-version": "0.1.0",
            "spatialdata-encoding-type": "ngff:regions_table",
            "region": "tiles",
            "region_key": "library_id",
            "instance_key": "tile_id",
            "version": "0.2",
        }
    )
    table.create_array("X", data=values)
    table.create_array("obs/tile_id", data=np.array(tile_ids, np.int64))


def make_store(
    path: Path, libraries: tuple[Any, Any], *, zarr_format: int = 3, edges: tuple[int, int] = (256, 256)
) -> Path:
    zarr, pa = libraries
    import pyarrow.parquet

    store = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    properties = {"shape": [2967, 2220], "n_level": 1, "mpp": 0.499, "magnification": 20.0}
    store.attrs.update({"slide_properties": properties, "tile_spec": {"tiles": SPEC}})
    store.create_group("shapes/tiles").attrs["encoding-type"] = "ngff:shapes"
    x, y = XY.T
    boxes = shapely.to_wkb(shapely.box(x, y, x + edges[0], y + edges[1]))
    columns = {"tile_id": [10, 11, 12, 13], "x": x, "y": y, "geometry": pa.array(boxes, pa.binary())}
    pyarrow.parquet.write_table(pa.table(columns), path / "shapes" / "tiles" / "shapes.parquet")
    add_table(store, "resnet50_tiles", VALUES, [13, 12, 11, 10])
    return path


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_tiles_and_features_are_joined_by_tile_id(tmp_path: Path, libraries: tuple[Any, Any], zarr_format: int) -> None:
    path = make_store(tmp_path / "cmu.zarr", libraries, zarr_format=zarr_format)
    assert recognise(path) is recognise(path / "tables" / "resnet50_tiles") is Format.wsidata
    features = read_foreign(path, slide=SLIDE)
    assert features.grid.l0_rc.tolist() == [[0, 0], [0, 192], [300, 100], [1200, 1500]]
    assert np.array_equal(features.values, VALUES[::-1])
    grid = features.grid
    assert (grid.tile_l0, grid.stride_l0, grid.tile_px, grid.mpp) == (256, 192, 128, 1.0)
    assert (features.encoder.name, features.slide) == ("resnet50", SLIDE)
    alone = read_foreign(path)
    assert alone.slide == SlideRef("cmu", "", (0.499, 0.499), (2967, 2220))


def test_one_of_several_tables_must_be_named(tmp_path: Path, libraries: tuple[Any, Any]) -> None:
    path = make_store(tmp_path / "cmu.zarr", libraries)
    add_table(libraries[0].open_group(path), "uni_tiles", VALUES[:2], [11, 13])
    with pytest.raises(FeaturesError, match=r"2 tables of features: resnet50_tiles, uni_tiles. Give one of them"):
        read_foreign(path, slide=SLIDE)
    some = read_foreign(path / "tables" / "uni_tiles", slide=SLIDE)
    assert some.grid.l0_rc.tolist() == [[0, 192], [1200, 1500]]
    assert np.array_equal(some.values, VALUES[:2])
    assert some.encoder.name == "uni"


def test_what_does_not_fit_together_is_refused(tmp_path: Path, libraries: tuple[Any, Any]) -> None:
    path = make_store(tmp_path / "cmu.zarr", libraries)
    with pytest.raises(FeaturesError, match=r"slide of 2220 x 2967 px, but b.svs has 10 x 20"):
        read_foreign(path, slide=SlideRef("b.svs", "", (0.499, 0.499), (20, 10)))
    with pytest.raises(FeaturesError, match=r"128 microns is 256 level-0 pixels wide, but .* 0.25 microns"):
        read_foreign(path, slide=SLIDE, slide_mpp=0.25)
    add_table(libraries[0].open_group(path), "uni_tiles", VALUES[:2], [11, 99])
    with pytest.raises(FeaturesError, match="its rows name tiles that are not there"):
        read_foreign(path / "tables" / "uni_tiles", slide=SLIDE)
    with pytest.raises(FeaturesError, match="256 to 300 pixels wide and high, not square"):
        read_foreign(make_store(tmp_path / "oblong.zarr", libraries, edges=(256, 300)), slide=SLIDE)
    (path / "shapes" / "tiles" / "shapes.parquet").unlink()
    with pytest.raises(FeaturesError, match="cannot be read"):
        read_foreign(path / "tables" / "resnet50_tiles", slide=SLIDE)


def test_a_folder_without_features_says_so(tmp_path: Path, libraries: tuple[Any, Any]) -> None:
    store = libraries[0].open_group(tmp_path / "bare.zarr", mode="w")
    assert recognise(tmp_path / "bare.zarr") is None
    store.attrs["slide_properties"] = {"shape": [10, 10]}
    with pytest.raises(FeaturesError, match="no table of features"):
        read_foreign(tmp_path / "bare.zarr")


def test_round_trip_of_tiles_whose_edge_is_not_whole(tmp_path: Path, libraries: tuple[Any, Any]) -> None:
    l0_rc = np.ascontiguousarray(XY[np.lexsort(XY.T)][:, ::-1])
    grid = TileGrid(l0_rc, 33.92, 33.92, 32, 0.53, np.full(4, np.nan, np.float32))
    slide = SlideRef("/slides/x.svs", "", (0.5, 0.5), (2967, 2220))
    bag = Features(VALUES, grid, EncoderInfo("timm:resnet18", "", "", 6, 32, 0.53), slide)
    path = tmp_path / "x.zarr"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert write_foreign(path, bag, Format.wsidata) == (path,)
    back = read_foreign(path, slide=slide)
    assert np.array_equal(back.grid.l0_rc, l0_rc)
    assert np.array_equal(back.values, VALUES)
    assert (back.grid.tile_l0, back.grid.tile_px, back.grid.mpp) == (pytest.approx(33.92), 32, 0.53)
    assert back.encoder.name == "timm:resnet18"
    with pytest.raises(FeaturesError, match="is a folder that is already there"):
        write_foreign(path, bag, Format.wsidata, overwrite=True)
    assert [file.name for file in tmp_path.iterdir()] == ["x.zarr"]


@pytest.mark.parametrize(
    ("encoder", "table"),
    [
        ("timm:resnet18.a1_in1k", "timm-resnet18.a1_in1k_tiles"),
        ("hf-hub:MahmoodLab/UNI 2*", "hf-hub-MahmoodLab-UNI-2-_tiles"),
        ("__größe", "-gr--e_tiles"),
        ("", "features_tiles"),
    ],
)
def test_tables_have_names_that_spatialdata_takes_and_keep_the_encoders(
    tmp_path: Path, libraries: tuple[Any, Any], encoder: str, table: str
) -> None:
    grid = TileGrid(XY[:2, ::-1].copy(), 256.0, 192.0, 128, 1.0, np.full(2, np.nan, np.float32))
    path = tmp_path / "x.zarr"
    write_foreign(path, Features(VALUES[:2], grid, EncoderInfo(encoder, "", "", 6, 128, 1.0), SLIDE), Format.wsidata)
    assert [folder.name for folder in (path / "tables").iterdir() if folder.is_dir()] == [table]
    assert read_foreign(path, slide=SLIDE).encoder.name == encoder
    (path / "tables" / table).rename(path / "tables" / "renamed_tiles")
    assert read_foreign(path, slide=SLIDE).encoder.name == encoder


@pytest.mark.parametrize("missing", ["zarr", "pyarrow.parquet"])
def test_without_the_libraries_one_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    store = tmp_path / "cmu.zarr"
    store.mkdir()
    (store / "zarr.json").write_text(json.dumps({"zarr_format": 3, "attributes": {"tile_spec": {"tiles": SPEC}}}))
    monkeypatch.setitem(sys.modules, missing, None)
    assert recognise(store) is Format.wsidata
    with pytest.raises(FeaturesError, match=r"needs the packages zarr and pyarrow. Run: pip install 'napari-mil\[wsi"):
        read_foreign(store, slide=SLIDE)
