"""What we write, opened by the packages that it is for: SpatialData, wsidata, torchmil, where they are installed."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace

import h5py
import numpy as np
import pytest
import torch

from napari_mil.features import Features, Format, read_foreign, write_features, write_foreign
from napari_mil.slides import Slide

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the other packages


def their(name: str) -> ModuleType:
    """Return a module of another package; the test is skipped where it is not installed."""
    pytest.importorskip(name.partition(".")[0], exc_type=ImportError)
    return import_module(name)


@pytest.fixture
def whole_bag(slide: Slide, tools: SimpleNamespace) -> Features:
    """Return features of `slide` whose tiles are a whole number of level-0 pixels, as wsidata reads them."""
    grid = tools.lay_grid(32, 1.0)
    values = np.random.default_rng(0).standard_normal((len(grid), 12)).astype(np.float32)
    info = tools.make_quarters(32, 1.0).info
    return Features(values, grid, replace(info, name="timm:resnet18.a1_in1k"), slide.ref)


# -- wsidata -----------------------------------------------------------------------------------------------------


def test_spatialdata_opens_a_folder_and_finds_it_valid(tmp_path: Path, whole_bag: Features) -> None:
    spatialdata, models = their("spatialdata"), their("spatialdata.models")
    write_foreign(tmp_path / "x.zarr", whole_bag, Format.wsidata)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*(name|element|table).*")  # what it says of elements that it skips
        store = spatialdata.read_zarr(tmp_path / "x.zarr")
    (name,) = store.tables
    assert name == "timm-resnet18.a1_in1k_tiles"
    tiles, table = store.shapes["tiles"], store.tables[name]
    models.ShapesModel().validate(tiles)
    models.TableModel().validate(table)
    store.validate_table_in_spatialdata(table)
    assert np.array_equal(table.X, whole_bag.values)
    x0_y0 = whole_bag.grid.l0_rc[:, ::-1]
    assert np.array_equal(tiles.bounds.to_numpy(), np.hstack([x0_y0, x0_y0 + 64]))
    assert spatialdata.match_table_to_element(store, "tiles", name).X.shape == whole_bag.values.shape


def test_a_folder_that_spatialdata_wrote_again_is_still_read(tmp_path: Path, whole_bag: Features) -> None:
    spatialdata = their("spatialdata")
    write_foreign(tmp_path / "x.zarr", whole_bag, Format.wsidata)
    spatialdata.read_zarr(tmp_path / "x.zarr").write(tmp_path / "again.zarr")
    back = read_foreign(tmp_path / "again.zarr", slide=whole_bag.slide)
    assert np.array_equal(back.values, whole_bag.values)
    assert np.array_equal(back.grid.l0_rc, whole_bag.grid.l0_rc)


def test_wsidata_opens_a_folder_with_its_slide(tmp_path: Path, slide: Slide, whole_bag: Features) -> None:
    wsidata = their("wsidata")
    write_foreign(tmp_path / "x.zarr", whole_bag, Format.wsidata)
    wsi = wsidata.open_wsi(slide.ref.path, store=tmp_path / "x.zarr")
    spec, grid = wsi.tile_spec("tiles"), whole_bag.grid
    assert (spec.height, spec.width, spec.mpp, spec.base_width, spec.base_stride_width) == (32, 32, 1.0, 64, 64)
    found = wsi.fetch.features_anndata("timm-resnet18.a1_in1k", "tiles", tile_graph=False)
    assert np.array_equal(found.X, whole_bag.values)
    assert np.array_equal(found.obsm["spatial"], grid.l0_rc[:, ::-1])
    images = list(wsi.iter.tile_images("tiles"))
    assert [(image.x, image.y) for image in images] == [(col, row) for row, col in grid.l0_rc.tolist()]
    for number in (0, len(images) // 2, -1):
        ours = slide.read_patch(*grid.l0_rc[number].tolist(), 64, 32).astype(float)
        assert np.abs(images[number].image - ours).mean() < 0.5  # 5 where two pixels aside


# -- torchmil ----------------------------------------------------------------------------------------------------


@pytest.fixture
def trident_folder(tmp_path: Path, bag: Features) -> Path:
    """Return a folder as TRIDENT leaves it, two slides of different length, all files of our making."""
    folder = tmp_path / "19x_32px_0px_overlap"
    for name, count in (("a", len(bag)), ("b", 17)):
        part = Features(
            bag.values[:count],
            replace(bag.grid, l0_rc=bag.grid.l0_rc[:count], tissue_fraction=bag.grid.tissue_fraction[:count]),
            bag.encoder,
            bag.slide,
        )
        write_features(folder / "features_quarters" / f"{name}.h5", part)
        (folder / "patches").mkdir(exist_ok=True)
        shutil.copy(folder / "features_quarters" / f"{name}.h5", folder / "patches" / f"{name}_patches.h5")
    (folder / "labels.csv").write_text("slide,label\na.tif,1\nb.tif,0\n")
    return folder


def test_torchmil_takes_our_files_for_tridents(trident_folder: Path, bag: Features) -> None:
    dataset = their("torchmil.datasets").TridentWSIDataset(
        base_path=f"{trident_folder}/",
        labels_path=str(trident_folder / "labels.csv"),
        feature_extractor="quarters",
        bag_keys=["X", "Y", "coords", "adj"],
        patch_size=34,
        wsi_name_col="slide",
        wsi_label_col="label",
    )
    first, second = dataset[0], dataset[1]
    assert (len(dataset), int(first["Y"]), int(second["Y"])) == (2, 1, 0)
    assert np.array_equal(first["X"].numpy(), bag.values)
    assert np.array_equal(second["X"].numpy(), bag.values[:17])
    assert np.array_equal(first["coords"].numpy(), bag.grid.l0_rc[:, ::-1] // 34)
    assert first["adj"].shape == (len(bag), len(bag))


def test_a_network_of_torchmil_runs_on_our_files(trident_folder: Path, bag: Features) -> None:
    files = trident_folder / "features_quarters"
    for name, label in (("a", 1), ("b", 0)):
        (trident_folder / "labels").mkdir(exist_ok=True)
        with h5py.File(trident_folder / "labels" / f"{name}.h5", "w") as file:
            file["labels"] = np.array([label])
    dataset = their("torchmil.datasets").ProcessedMILDataset(
        features_path=str(files),
        coords_path=str(files),
        labels_path=str(trident_folder / "labels"),
        bag_keys=["X", "Y", "coords"],
        file_ext=".h5",
        verbose=False,
    )
    assert np.array_equal(dataset[0]["coords"].numpy(), bag.grid.l0_rc[:, ::-1])
    loader = torch.utils.data.DataLoader(dataset, batch_size=2, collate_fn=their("torchmil.data").collate_fn)
    (batch,) = loader
    torch.manual_seed(0)
    model = their("torchmil.models").ABMIL(in_shape=(12,), att_dim=8).eval()
    with torch.inference_mode():
        together, attention = model(batch["X"], batch["mask"], return_att=True)
        alone = [model(torch.from_numpy(bag.values[:count])[None]) for count in (len(bag), 17)]
    torch.testing.assert_close(together, torch.cat(alone))
    assert attention.shape == (2, len(bag))
