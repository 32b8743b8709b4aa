"""Other tools' feature files, built as those tools write them: every place, size and number comes out right."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from napari_mil.cli import app
from napari_mil.errors import FeaturesError
from napari_mil.features import (
    EncoderInfo,
    Features,
    Format,
    read_features,
    read_foreign,
    recognise,
    write_features,
    write_foreign,
)
from napari_mil.features._partial import claim
from napari_mil.slides import SlideRef
from napari_mil.tiling import TileGrid

MPP = 0.2528
SLIDE = SlideRef("/slides/duodenum.tif", "abc", (MPP, MPP), (16783, 14486))
# column by column, as CLAM and older TRIDENT write; (x, y)
XY = np.array([(x, y) for x in (1000, 2024, 3048) for y in (500, 1524, 2548, 3572)], np.int64)
VALUES = np.random.default_rng(0).standard_normal((len(XY), 6)).astype(np.float32)


def by_place(features: Features) -> dict[tuple[int, int], list[float]]:
    """Return features by (x, y) of their tile, whatever their order."""
    return {(int(c), int(r)): row.tolist() for (r, c), row in zip(features.grid.l0_rc, features.values, strict=True)}


def expected(values: np.ndarray = VALUES, xy: np.ndarray = XY) -> dict[tuple[int, int], list[float]]:
    return {(int(x), int(y)): row.tolist() for (x, y), row in zip(xy, values.astype(np.float32), strict=True)}


def make_clam(root: Path, *, patches: bool = True, **extra: object) -> Path:
    """CLAM: a patch of 256 px at a level of downsample 4 covers 1024 level-0 pixels."""
    for folder in ("h5_files", "pt_files", "patches"):
        (root / folder).mkdir(parents=True)
    path = root / "h5_files" / "duodenum.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("features", data=VALUES, maxshape=(None, 6), chunks=(1, 6))
        file.create_dataset("coords", data=XY, maxshape=(None, 2), chunks=(1, 2))
    torch.save(torch.from_numpy(VALUES), root / "pt_files" / "duodenum.pt")
    if patches:
        with h5py.File(root / "patches" / "duodenum.h5", "w") as file:
            coords = file.create_dataset("coords", data=XY)
            attributes = {
                "patch_size": 256,
                "patch_level": 1,
                "downsample": (4.0, 4.0),
                "downsampled_level_dim": (3621, 4195),
                "level_dim": (3621, 4195),
                "name": "duodenum",
                "save_path": "out/patches",
            }
            coords.attrs.update(attributes | extra)
    return path


def make_trident(path: Path, **changed: object) -> Path:
    attributes = {
        "patch_size": 512,
        "patch_size_level0": 1024,
        "level0_magnification": 40,
        "target_magnification": 20,
        "overlap": 0,
        "name": "duodenum",
        "savetodir": "job/20x_512px_0px_overlap",
        "level0_width": SLIDE.shape[1],
        "level0_height": SLIDE.shape[0],
    } | changed
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        features = file.create_dataset("features", data=VALUES)
        features.attrs.update({"name": "duodenum", "savetodir": "job", "encoder": "uni_v1"})
        file.create_dataset("coords", data=XY).attrs.update({k: v for k, v in attributes.items() if v is not None})
    return path


def make_stamp(path: Path, **changed: object) -> Path:
    attributes = {
        "stamp_version": "2.5.0",
        "extractor": "uni2",
        "unit": "um",
        "tile_size_um": 1024 * MPP,
        "tile_size_px": 224,
        "code_hash": "0a1b2c3d",
        "feat_type": "tile",
    } | changed
    with h5py.File(path, "w") as file:
        file["coords"] = (XY * MPP).astype(np.float32)
        file["feats"] = VALUES.astype(np.float16)
        file.attrs.update({k: v for k, v in attributes.items() if v is not None})
    return path


def make_slideflow(folder: Path, tile_um: object = 302, half: int = 597) -> Path:
    """Slideflow: 302 um at 0.2528 um/px is a tile of int(1194.6) = 1194 px, its centre 597 px from its corner."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "duodenum.pt"
    torch.save(torch.from_numpy(VALUES), path)
    np.savez(folder / "duodenum.index.npz", XY + half)
    config = {
        "extractor": {"class": "slideflow.model.extractors.uni.UNIFeatures", "kwargs": {"center_crop": True}},
        "normalizer": None,
        "num_features": 6,
        "tile_px": 299,
        "tile_um": tile_um,
    }
    (folder / "bags_config.json").write_text(json.dumps(config))
    return path


def make_wsinfer(root: Path, *, patches: bool = True, height: int = 692) -> Path:
    """WSInfer: a model for 350 px at 0.5 um/px takes round(350 * 0.5 / 0.2528) = 692 level-0 pixels."""
    for folder in ("patches", "model-outputs-csv"):
        (root / folder).mkdir(parents=True)
    frame = pd.DataFrame({"minx": XY[:, 0], "miny": XY[:, 1], "width": 692, "height": height})
    frame.loc[:, ["prob_notumor", "prob_tumor"]] = probabilities()
    table = root / "model-outputs-csv" / "duodenum.csv"
    frame.to_csv(table, index=False)
    if patches:
        with h5py.File(root / "patches" / "duodenum.h5", "w") as file:
            coords = file.create_dataset("/coords", data=XY, compression="gzip")
            coords.attrs.update({"patch_size": 692, "patch_level": 0, "patch_spacing_um_px": 0.5})
    return table


def probabilities() -> np.ndarray:
    tumour = np.linspace(0, 1, len(XY), dtype=np.float32)
    return np.stack([1 - tumour, tumour], axis=1)


def make_bag(**changed: object) -> Features:
    xy = changed.pop("xy", XY)
    l0_rc = np.ascontiguousarray(xy[np.lexsort((xy[:, 0], xy[:, 1]))][:, ::-1])
    tile_l0 = float(changed.pop("tile_l0", 1024.0))
    values = changed.pop("values", np.random.default_rng(1).random((len(l0_rc), 3), np.float32))
    grid = TileGrid(l0_rc, tile_l0, tile_l0, 256, tile_l0 * MPP / 256, np.full(len(l0_rc), np.nan, np.float32))
    return Features(values, grid, EncoderInfo("uni", "", "", values.shape[1], 256, grid.mpp), SLIDE)


def target(folder: Path, kind: Format) -> Path:
    return folder / {Format.slideflow: "b.pt", Format.wsinfer: "b.csv"}.get(kind, "b.h5")


HDF5_AND_TABLES = [kind for kind in Format if kind is not Format.wsidata]


# -- recognising -------------------------------------------------------------------------------------------------


def test_files_are_told_by_their_fields_not_their_names(tmp_path: Path) -> None:
    made = {
        Format.trident: make_trident(tmp_path / "t.h5"),
        Format.stamp: make_stamp(tmp_path / "s.h5"),
        Format.clam: make_clam(tmp_path / "clam"),
        Format.wsinfer: make_wsinfer(tmp_path / "wsinfer"),
    }
    for kind, path in made.items():
        renamed = shutil.copy(path, tmp_path / f"not {kind}, nor anything.dat")
        assert recognise(renamed) is kind
    assert recognise(make_slideflow(tmp_path / "bags")) is Format.slideflow
    assert recognise(tmp_path / "clam" / "pt_files" / "duodenum.pt") is Format.clam
    assert recognise(tmp_path / "clam" / "patches" / "duodenum.h5") is Format.clam
    assert recognise(tmp_path / "wsinfer" / "patches" / "duodenum.h5") is Format.wsinfer
    write_features(tmp_path / "own.h5", make_bag())
    assert recognise(tmp_path / "own.h5") is Format.trident


def test_what_is_no_feature_file_is_not_recognised(tmp_path: Path, slide_path: Path) -> None:
    lone = tmp_path / "lone.pt"
    torch.save(torch.zeros(3, 4), lone)
    script = make_slideflow(tmp_path / "bags")  # TorchScript beside a bag's index
    with zipfile.ZipFile(script, "w") as archive:
        archive.writestr("script/data.pkl", b"")
        archive.writestr("script/constants.pkl", b"")
    with h5py.File(tmp_path / "blockmap.h5", "w") as file:
        file["attention_scores"], file["coords"] = np.zeros((3, 1)), np.zeros((3, 2))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["coords"] = np.zeros((3, 2))
    (tmp_path / "empty.h5").touch()
    (tmp_path / "table.csv").write_text("minx,miny,label\n1,2,3\n")
    (tmp_path / "cut.h5").write_bytes(make_trident(tmp_path / "whole.h5").read_bytes()[:600])
    for path in (lone, script, slide_path, tmp_path, tmp_path / "missing.h5"):
        assert recognise(path) is None
    for name in ("blockmap.h5", "other.h5", "empty.h5", "table.csv", "cut.h5"):
        assert recognise(tmp_path / name) is None


# -- CLAM --------------------------------------------------------------------------------------------------------


def test_clam_takes_its_patch_size_from_the_file_beside(tmp_path: Path) -> None:
    path = make_clam(tmp_path)
    for file in (path, tmp_path / "pt_files" / "duodenum.pt"):
        features = read_foreign(file, slide=SLIDE)
        assert by_place(features) == expected()
        assert (features.grid.tile_l0, features.grid.stride_l0, features.grid.tile_px) == (1024, 1024, 256)
        assert features.grid.mpp == pytest.approx(4 * MPP)
        assert features.slide == SLIDE
        assert np.array_equal(features.grid.l0_rc, features.grid.l0_rc[np.lexsort(features.grid.l0_rc.T[::-1])])


def test_clam_with_a_custom_downsample(tmp_path: Path) -> None:
    path = make_clam(tmp_path, patch_level=0, downsample=(1.0, 1.0), custom_downsample=2)
    features = read_foreign(path, slide=SLIDE)
    assert (features.grid.tile_l0, features.grid.tile_px) == (512, 256)
    assert features.grid.mpp == pytest.approx(2 * MPP)


def test_clam_without_its_patches_needs_the_patch_size(tmp_path: Path) -> None:
    path = make_clam(tmp_path, patches=False)
    with pytest.raises(FeaturesError, match=r"does not say how large its patches are.*--patch-size"):
        read_foreign(path, slide=SLIDE)
    features = read_foreign(path, slide=SLIDE, patch_size=1024)
    assert by_place(features) == expected()
    assert (features.grid.tile_l0, features.grid.tile_um) == (1024, pytest.approx(1024 * MPP))
    with pytest.raises(FeaturesError, match=r"how many microns.*--slide"):
        read_foreign(path, patch_size=1024)
    assert read_foreign(path, patch_size=1024, slide_mpp=MPP).slide.mpp == (MPP, MPP)


def test_a_patch_size_that_is_given_does_not_overrule_clams_own(tmp_path: Path) -> None:
    path = make_clam(tmp_path)
    with pytest.raises(
        FeaturesError, match=r"patches/duodenum.h5 says .* 1024 level-0 pixels wide, not 512. Leave out"
    ):
        read_foreign(path, slide=SLIDE, patch_size=512)
    for given_size in (1024, 1023.5):
        features = read_foreign(path, slide=SLIDE, patch_size=given_size)
        assert (features.grid.tile_l0, features.grid.tile_px) == (1024, 256)
        assert features.grid.mpp == pytest.approx(4 * MPP)


def test_a_patch_size_joins_clams_level_without_its_downsample(tmp_path: Path) -> None:
    path = make_clam(tmp_path)
    with h5py.File(tmp_path / "patches" / "duodenum.h5", "r+") as file:
        del file["coords"].attrs["downsample"]
    features = read_foreign(path, slide=SLIDE, patch_size=1024)
    assert (features.grid.tile_l0, features.grid.tile_px) == (1024, 256)


def test_a_clam_level_without_its_downsample_says_nothing_of_level_0(tmp_path: Path) -> None:
    path = make_clam(tmp_path)
    with h5py.File(tmp_path / "patches" / "duodenum.h5", "r+") as file:
        del file["coords"].attrs["downsample"]
    with pytest.raises(FeaturesError, match="--patch-size"):
        read_foreign(path, slide=SLIDE)


def test_bare_features_take_tridents_level_0_size_from_the_places_beside(tmp_path: Path) -> None:
    make_trident(tmp_path / "duodenum_patches.h5")
    path = Path(shutil.copy(make_clam(tmp_path / "clam", patches=False), tmp_path / "duodenum.h5"))
    features = read_foreign(path, slide=SLIDE)
    assert (features.grid.tile_l0, features.grid.tile_px) == (1024, 512)


def test_clam_patches_of_another_run_do_not_count(tmp_path: Path) -> None:
    path = make_clam(tmp_path)
    with h5py.File(tmp_path / "patches" / "duodenum.h5", "r+") as file:
        file["coords"][0] = (7, 7)
    with pytest.raises(FeaturesError, match=r"lists other patches than .*--patch-size"):
        read_foreign(path, slide=SLIDE)
    assert read_foreign(path, slide=SLIDE, patch_size=1024).grid.tile_l0 == 1024


def test_places_without_features_are_no_features(tmp_path: Path) -> None:
    make_clam(tmp_path)
    with pytest.raises(FeaturesError, match=r"no features.*h5_files"):
        read_foreign(tmp_path / "patches" / "duodenum.h5", slide=SLIDE)
    trident = make_trident(tmp_path / "t_patches.h5")
    with h5py.File(trident, "r+") as file:
        del file["features"]
    with pytest.raises(FeaturesError, match="no features"):
        read_foreign(trident, slide=SLIDE)


# -- TRIDENT -----------------------------------------------------------------------------------------------------


def test_trident_is_placed_by_its_level_0_size_and_scaled_by_the_slide(tmp_path: Path) -> None:
    path = make_trident(tmp_path / "t.h5")
    nominal = read_foreign(path)
    assert by_place(nominal) == expected()
    assert (nominal.grid.tile_l0, nominal.grid.tile_px, nominal.grid.mpp) == (1024, 512, 0.5)
    assert nominal.slide == SlideRef("duodenum", "", None, SLIDE.shape)
    exact = read_foreign(path, slide=SLIDE)
    assert exact.grid.mpp == pytest.approx(2 * MPP)
    assert exact.encoder.name == "uni_v1"


def test_trident_overlap_becomes_the_stride(tmp_path: Path) -> None:
    features = read_foreign(make_trident(tmp_path / "t.h5", overlap=128), slide=SLIDE)
    assert features.grid.stride_l0 == 768


def test_trident_of_another_slide_is_refused(tmp_path: Path) -> None:
    other = SlideRef("/slides/other.svs", "", (0.5, 0.5), (9000, 9000))
    with pytest.raises(FeaturesError, match=r"14486 x 16783 px, but /slides/other.svs has 9000 x 9000.*--slide"):
        read_foreign(make_trident(tmp_path / "t.h5"), slide=other)


@pytest.mark.parametrize("absent", [None, "None"])
def test_trident_of_old_lacks_the_level_0_size(tmp_path: Path, absent: object) -> None:
    path = make_trident(tmp_path / "t.h5", patch_size_level0=absent, level0_magnification="None")
    with pytest.raises(FeaturesError, match="--patch-size"):
        read_foreign(path, slide=SLIDE)
    features = read_foreign(path, slide=SLIDE, patch_size=1024)
    assert (features.grid.tile_l0, features.grid.tile_px) == (1024, 512)


def test_napari_mils_own_file_comes_back_exactly(tmp_path: Path, bag: Features) -> None:
    path = tmp_path / "own.h5"
    write_features(path, bag)
    for features in (read_foreign(path), read_foreign(path, slide=bag.slide, patch_size=bag.grid.tile_l0)):
        assert np.array_equal(features.values, bag.values)
        assert np.array_equal(features.grid.l0_rc, bag.grid.l0_rc)
        assert np.array_equal(features.grid.tissue_fraction, bag.grid.tissue_fraction)
        assert (features.encoder, features.slide) == (bag.encoder, bag.slide)
    other = SlideRef("/slides/other.svs", "another", (0.5, 0.5), bag.slide.shape)
    with pytest.raises(FeaturesError, match=r"made from another slide \(/slides/ß x.tif\)"):
        read_foreign(path, slide=other)


def test_a_patch_size_against_the_file_is_refused(tmp_path: Path) -> None:
    for path in (make_trident(tmp_path / "t.h5"), make_clam(tmp_path / "c"), make_stamp(tmp_path / "s.h5")):
        if path.parent.name != "h5_files":  # there the argument counts before the file beside
            with pytest.raises(FeaturesError, match=r"1024 level-0 pixels wide, not 512.*--patch-size"):
                read_foreign(path, slide=SLIDE, patch_size=512)
        assert read_foreign(path, slide=SLIDE, patch_size=1024).grid.tile_l0 == pytest.approx(1024)


# -- STAMP -------------------------------------------------------------------------------------------------------


def test_stamp_microns_become_pixels(tmp_path: Path) -> None:
    path = make_stamp(tmp_path / "s.h5")
    features = read_foreign(path, slide=SLIDE)
    assert by_place(features) == expected(VALUES.astype(np.float16))
    assert features.grid.tile_l0 == pytest.approx(1024)
    assert (features.grid.tile_px, features.encoder.name) == (224, "uni2")
    assert features.grid.tile_um == pytest.approx(1024 * MPP)


def test_stamp_without_scale_says_so_and_a_patch_size_gives_it(tmp_path: Path) -> None:
    path = make_stamp(tmp_path / "s.h5")
    with pytest.raises(FeaturesError, match=r"--patch-size or the slide.*--slide"):
        read_foreign(path)
    features = read_foreign(path, patch_size=1024)
    assert by_place(features) == expected(VALUES.astype(np.float16))
    assert features.slide.mpp == pytest.approx((MPP, MPP))


def test_older_stamp_files(tmp_path: Path) -> None:
    version_2 = make_stamp(tmp_path / "v2.h5", tile_size_um=None, tile_size_px=None, tile_size=1024 * MPP)
    features = read_foreign(version_2, slide=SLIDE)
    assert by_place(features) == expected(VALUES.astype(np.float16))
    assert features.grid.tile_l0 == pytest.approx(1024)
    # version 1: places in pixels of 256/224 um, told by tiles 224 apart
    version_1 = make_stamp(tmp_path / "v1.h5", **dict.fromkeys(("tile_size_um", "tile_size_px", "unit")))
    steps = (XY - XY.min(axis=0)) // 1024
    with h5py.File(version_1, "r+") as file:
        file["coords"][...] = steps * 224
    features = read_foreign(version_1, slide=SLIDE)
    assert features.grid.tile_l0 == pytest.approx(256 / MPP)
    places = np.rint(steps * 256 / MPP).astype(np.int64)
    assert by_place(features) == expected(VALUES.astype(np.float16), places)
    with h5py.File(version_1, "r+") as file:
        file["coords"][...] = steps * 300
    with pytest.raises(FeaturesError, match="in which unit"):
        read_foreign(version_1, slide=SLIDE)


def test_stamp_features_of_slides_have_no_tiles(tmp_path: Path) -> None:
    for kind in ("slide", "patient"):
        with pytest.raises(FeaturesError, match=f"features of a whole {kind}"):
            read_foreign(make_stamp(tmp_path / "s.h5", feat_type=kind), slide=SLIDE)
    with h5py.File(make_stamp(tmp_path / "m.h5"), "r+") as file:
        file.move("feats", "patch_embeddings")
        del file["coords"]
    with pytest.raises(FeaturesError, match="without places"):
        read_foreign(tmp_path / "m.h5", slide=SLIDE)


def test_a_wrong_scale_puts_tiles_outside_the_slide(tmp_path: Path) -> None:
    wrong = SlideRef(SLIDE.path, "", (MPP / 8, MPP / 8), SLIDE.shape)
    with pytest.raises(FeaturesError, match=r"\d+ of 12 tiles of .* lie outside the slide of 14486 x 16783 px.*scale"):
        read_foreign(make_stamp(tmp_path / "s.h5"), slide=wrong)


# -- Slideflow ---------------------------------------------------------------------------------------------------


def test_slideflow_centres_become_corners(tmp_path: Path) -> None:
    features = read_foreign(make_slideflow(tmp_path), slide=SLIDE)
    assert by_place(features) == expected()
    assert (features.grid.tile_l0, features.grid.tile_px) == (1194, 299)
    assert (features.encoder.name, features.grid.mpp) == ("UNIFeatures", pytest.approx(302 / 299))


@pytest.mark.parametrize(
    ("extractor", "name"),
    [
        ("slideflow.model.extractors.uni.UNIFeatures", "UNIFeatures"),
        ("slideflow_noncommercial.extractors.gigapath.GigapathFeatures", "GigapathFeatures"),
        ("conch_v1.5", "conch_v1.5"),
        ("timm:resnet50.tv_in1k", "timm:resnet50.tv_in1k"),
        ("slideflow", "slideflow"),
    ],
)
def test_only_slideflows_own_classes_lose_their_modules(tmp_path: Path, extractor: str, name: str) -> None:
    path = make_slideflow(tmp_path)
    config = json.loads((tmp_path / "bags_config.json").read_text())
    config["extractor"]["class"] = extractor
    (tmp_path / "bags_config.json").write_text(json.dumps(config))
    assert read_foreign(path, slide=SLIDE).encoder.name == name


def test_slideflow_by_magnification_needs_the_patch_size(tmp_path: Path) -> None:
    path = make_slideflow(tmp_path, tile_um="20x", half=299)
    with pytest.raises(FeaturesError, match="--patch-size"):
        read_foreign(path, slide=SLIDE)
    features = read_foreign(path, slide=SLIDE, patch_size=598)
    assert by_place(features) == expected()
    assert features.grid.mpp == pytest.approx(2 * MPP)


def test_a_slideflow_bag_that_is_none_is_said_to_be(tmp_path: Path) -> None:
    path = make_slideflow(tmp_path)
    torch.save({"a": torch.zeros(2)}, path)
    with pytest.raises(FeaturesError, match="it holds a dict, not a tensor"):
        read_foreign(path, slide=SLIDE)
    torch.save(torch.zeros(3, 6), path)
    with pytest.raises(FeaturesError, match=r"shape \(3, 6\) for places of shape \(12, 2\)"):
        read_foreign(path, slide=SLIDE)
    torch.save(Path("code"), path)  # anything that would have to be unpickled
    with pytest.raises(FeaturesError, match="no plain tensor"):
        read_foreign(path, slide=SLIDE)


def test_slideflow_bags_of_one_folder_have_one_size(tmp_path: Path) -> None:
    write_foreign(tmp_path / "a.pt", make_bag(), Format.slideflow)
    write_foreign(tmp_path / "b.pt", make_bag(), Format.slideflow)
    with pytest.raises(FeaturesError, match="bags of other patches"):
        write_foreign(tmp_path / "c.pt", make_bag(tile_l0=512.0), Format.slideflow)
    assert not (tmp_path / "c.pt").exists()


def test_slideflow_bags_of_one_folder_have_one_encoder(tmp_path: Path) -> None:
    def of(encoder: str) -> Features:
        bag = make_bag()
        return replace(bag, encoder=replace(bag.encoder, name=encoder))

    write_foreign(tmp_path / "a.pt", of("h-optimus-0"), Format.slideflow)
    with pytest.raises(FeaturesError, match=r"holds bags of h-optimus-0 .* of h-optimus-1. Choose another folder"):
        write_foreign(tmp_path / "b.pt", of("h-optimus-1"), Format.slideflow)
    with pytest.raises(FeaturesError, match="these features are of an unknown encoder"):
        write_foreign(tmp_path / "b.pt", of(""), Format.slideflow)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.index.npz", "a.pt", "bags_config.json"]
    assert read_foreign(tmp_path / "a.pt", slide=SLIDE).encoder.name == "h-optimus-0"


def test_a_bag_goes_back_to_slideflows_own_folder(tmp_path: Path) -> None:
    bag = read_foreign(make_slideflow(tmp_path), slide=SLIDE)  # the configuration has the class with its modules
    write_foreign(tmp_path / "again.pt", bag, Format.slideflow)
    assert read_foreign(tmp_path / "again.pt", slide=SLIDE).encoder.name == "UNIFeatures"


# -- WSInfer -----------------------------------------------------------------------------------------------------


def test_wsinfer_probabilities_are_features(tmp_path: Path) -> None:
    table = make_wsinfer(tmp_path)
    for path in (table, tmp_path / "patches" / "duodenum.h5"):
        features = read_foreign(path, slide=SLIDE)
        assert by_place(features) == expected(probabilities())
        assert (features.grid.tile_l0, features.grid.tile_px, features.grid.mpp) == (692, 350, 0.5)
        assert features.encoder.name == "wsinfer:notumor|tumor"
    (tmp_path / "patches" / "duodenum.h5").unlink()
    alone = read_foreign(table, slide=SLIDE)
    assert (alone.grid.tile_l0, alone.grid.tile_um) == (692, pytest.approx(692 * MPP))


def test_wsinfer_places_without_a_table(tmp_path: Path) -> None:
    make_wsinfer(tmp_path).unlink()
    with pytest.raises(FeaturesError, match=r"no probabilities.*\.csv"):
        read_foreign(tmp_path / "patches" / "duodenum.h5", slide=SLIDE)


def test_wsinfer_patches_that_are_not_square_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FeaturesError, match="600 to 692 pixels"):
        read_foreign(make_wsinfer(tmp_path, height=600), slide=SLIDE)


def test_wsinfer_takes_probabilities_only(tmp_path: Path) -> None:
    with pytest.raises(FeaturesError, match="not all between 0 and 1"):
        write_foreign(tmp_path / "a.csv", make_bag(values=VALUES), Format.wsinfer)
    classes = read_foreign(make_wsinfer(tmp_path), slide=SLIDE)
    write_foreign(tmp_path / "again" / "a.csv", classes, Format.wsinfer)
    frame = pd.read_csv(tmp_path / "again" / "a.csv")
    assert list(frame.columns) == ["minx", "miny", "width", "height", "prob_notumor", "prob_tumor"]


# -- all of them -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", HDF5_AND_TABLES)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_round_trips_keep_places_and_numbers(
    tmp_path_factory: pytest.TempPathFactory, kind: Format, data: st.DataObject
) -> None:
    edge = data.draw(st.integers(64, 2000), label="edge")
    steps = data.draw(st.lists(st.tuples(*[st.integers(0, 6)] * 2), min_size=1, max_size=30, unique=True))
    start = data.draw(st.integers(0, 400), label="start")
    bag = make_bag(xy=np.array(steps, np.int64) * edge + start, tile_l0=edge)
    path = target(tmp_path_factory.mktemp("trip"), kind)
    written = write_foreign(path, bag, kind)
    assert written[0] == path
    assert all(file.is_file() for file in written)
    assert recognise(path) is kind
    back = read_foreign(path, slide=SLIDE)
    assert np.array_equal(back.grid.l0_rc, bag.grid.l0_rc)
    exact = bag.values.astype(np.float16).astype(np.float32) if kind is Format.stamp else bag.values
    assert np.array_equal(back.values, exact)
    # Slideflow knows whole microns only, at four level-0 pixels each
    assert back.grid.tile_l0 == pytest.approx(edge, abs=3 if kind is Format.slideflow else 1e-3)
    assert back.grid.tile_um == pytest.approx(bag.grid.tile_um, abs=0.51 if kind is Format.slideflow else 1e-3)


def test_what_each_tool_looks_for_is_there(tmp_path: Path) -> None:
    bag = make_bag()
    xy = bag.grid.l0_rc[:, ::-1]
    path, tensor, patches = write_foreign(tmp_path / "h5_files" / "a.h5", bag, Format.clam)
    assert (tensor, patches) == (tmp_path / "pt_files" / "a.pt", tmp_path / "patches" / "a.h5")
    assert np.array_equal(torch.load(tensor, weights_only=True).numpy(), bag.values)
    with h5py.File(path) as file, h5py.File(patches) as beside:
        assert np.array_equal(file["coords"], xy)
        assert not file["coords"].attrs
        assert (beside["coords"].attrs["patch_size"], beside["coords"].attrs["patch_level"]) == (1024, 0)
    write_foreign(tmp_path / "s.h5", bag, "stamp")
    with h5py.File(tmp_path / "s.h5") as file:
        assert (file["feats"].dtype, file["coords"].dtype) == (np.float16, np.float32)
        assert file["coords"][0] == pytest.approx(xy[0] * MPP, rel=1e-6)
        assert file.attrs["tile_size_um"] == pytest.approx(1024 * MPP)
        assert (file.attrs["unit"], file.attrs["feat_type"], file.attrs["tile_size_px"]) == ("um", "tile", 256)
    write_foreign(tmp_path / "b.pt", bag, "slideflow")
    # 1024 px are 258.87 um; Slideflow takes 259 um to be int(1024.5) px
    assert np.array_equal(np.load(tmp_path / "b.index.npz")["arr_0"], xy + 512)
    assert json.loads((tmp_path / "bags_config.json").read_text())["tile_um"] == 259
    write_foreign(tmp_path / "t.h5", bag, "trident")
    assert np.array_equal(read_features(tmp_path / "t.h5").values, bag.values)


def test_overlap_is_measured_and_pieces_of_tissue_do_not_disturb_it(tmp_path: Path) -> None:
    path = make_clam(tmp_path)
    one = np.array([(x, y) for x in range(0, 3000, 512) for y in range(0, 3000, 512)], np.int64)
    other = one + np.array([7001, 6003])  # a grid of its own
    xy = np.concatenate([one, other, [[100, 0]]])  # and one that shares a row with the first
    for file in (path, tmp_path / "patches" / "duodenum.h5"):
        with h5py.File(file, "r+") as out:
            attributes = dict(out["coords"].attrs)
            del out["coords"]
            out.create_dataset("coords", data=xy).attrs.update(attributes)
            if "features" in out:
                del out["features"]
                out["features"] = np.zeros((len(xy), 2), np.float32)
    assert read_foreign(path, slide=SLIDE).grid.stride_l0 == 512
    assert read_foreign(make_clam(tmp_path / "sparse"), slide=SLIDE).grid.stride_l0 == 1024


def test_a_tile_may_hang_over_the_edge_but_not_begin_outside(tmp_path: Path) -> None:
    path = make_clam(tmp_path)
    x, y = XY.max(axis=0)
    tight = SlideRef("a.svs", "", (MPP, MPP), (int(y) + 1, int(x) + 1))
    assert len(read_foreign(path, slide=tight)) == len(XY)
    tighter = SlideRef("a.svs", "", (MPP, MPP), (int(y) + 1, int(x)))
    with pytest.raises(FeaturesError, match=r"4 of 12 tiles .* outside the slide of 3048 x 3573 px \(one at x 3048"):
        read_foreign(path, slide=tighter)


def test_empty_bags_are_legal(tmp_path: Path) -> None:
    empty = make_bag(xy=np.empty((0, 2), np.int64), values=np.empty((0, 4), np.float32))
    for kind in (Format.trident, Format.clam, Format.stamp, Format.slideflow):
        path = target(tmp_path / kind, kind)
        write_foreign(path, empty, kind)
        assert read_foreign(path, slide=SLIDE).values.shape == (0, 4)


def test_features_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    path = make_clam(tmp_path)
    with h5py.File(path, "r+") as file:
        file["features"][3, 2] = np.nan
    with pytest.raises(FeaturesError, match=r"1 of 12 tiles .* not finite"):
        read_foreign(path, slide=SLIDE)
    with pytest.raises(FeaturesError, match="half precision"):
        write_foreign(tmp_path / "s.h5", make_bag(values=np.full((len(XY), 1), 7e4, np.float32)), Format.stamp)


def test_damaged_files_are_said_to_be(tmp_path: Path) -> None:
    path = make_clam(tmp_path)
    with h5py.File(path, "r+") as file:
        del file["coords"]
        file["coords"] = np.zeros((5, 2))
    with pytest.raises(FeaturesError, match="cannot be matched"):
        read_foreign(path, slide=SLIDE, patch_size=1024)
    (tmp_path / "patches" / "duodenum.h5").write_bytes(b"gone")
    with pytest.raises(FeaturesError, match=r"patches/duodenum.h5 cannot be read"):
        read_foreign(path, slide=SLIDE)
    (tmp_path / "notes.h5").write_text("hello")
    with pytest.raises(FeaturesError, match="no feature file of TRIDENT, CLAM, STAMP, Slideflow, WSInfer, wsidata"):
        read_foreign(tmp_path / "notes.h5")
    with pytest.raises(FeaturesError, match="There is no"):
        read_foreign(tmp_path / "missing.h5")


@pytest.mark.parametrize("bad", [0.0, -1.0, float("inf"), float("nan")])
def test_sizes_that_are_no_sizes_are_the_programmers_fault(tmp_path: Path, bad: float) -> None:
    with pytest.raises(ValueError, match="patch_size must be positive"):
        read_foreign(tmp_path, patch_size=bad)
    with pytest.raises(ValueError, match="slide_mpp must be positive"):
        read_foreign(tmp_path, slide_mpp=bad)
    with pytest.raises(ValueError, match="nonsense"):
        write_foreign(tmp_path / "a", make_bag(), "nonsense")


@pytest.mark.parametrize("kind", HDF5_AND_TABLES)
def test_what_is_there_is_replaced_only_when_asked(tmp_path: Path, kind: Format) -> None:
    path, bag = target(tmp_path, kind), make_bag()
    last = write_foreign(path, bag, kind)[min(1, len(write_foreign(path, bag, kind, overwrite=True)) - 1)]
    if last != path:
        path.unlink()  # what a tool keeps beside it counts, too
    before = last.read_bytes()
    with pytest.raises(FeaturesError, match=f"{last.name} is already there.*--overwrite"):
        write_foreign(path, bag, kind)
    assert last.read_bytes() == before
    write_foreign(path, bag, kind, overwrite=True)
    assert len(read_foreign(path, slide=SLIDE)) == len(bag)
    assert not list(tmp_path.rglob("*.tmp")) + list(tmp_path.rglob(".partial*"))


def test_where_nothing_can_be_written_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for kind in HDF5_AND_TABLES:
        with pytest.raises(FeaturesError, match=r"cannot be written|is a folder"):
            write_foreign(tmp_path / "file" / "a.h5", make_bag(), kind)
    with pytest.raises(FeaturesError, match="is a folder"):
        write_foreign(tmp_path, make_bag(), Format.stamp)

    def full(*_: object) -> None:
        raise RuntimeError("file write failed: unexpected pos")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(FeaturesError, match="unexpected pos"):
        write_foreign(tmp_path / "a.pt", make_bag(), Format.slideflow)
    assert not (tmp_path / "a.pt").exists()
    assert not list(tmp_path.glob(".partial*"))


def test_a_file_that_is_being_extracted_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    with claim(path), pytest.raises(FeaturesError, match="being written by another process"):
        write_foreign(path, make_bag(), Format.trident)
    write_foreign(path, make_bag(), Format.trident)
    assert [file.name for file in tmp_path.iterdir()] == ["f.h5"]


# -- the command -------------------------------------------------------------------------------------------------


def test_convert(tmp_path: Path, slide_path: Path, bag: Features) -> None:
    source, out = tmp_path / "own.h5", tmp_path / "clam" / "h5_files" / "tissue.h5"
    write_features(source, bag)
    runner = CliRunner()
    done = runner.invoke(app, ["convert", str(source), "--to", "clam", "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["from"], said["to"], said["patches"], said["dim"]) == ("trident", "clam", len(bag), 12)
    assert [Path(name).parent.name for name in said["files"]] == ["h5_files", "pt_files", "patches"]
    back = tmp_path / "back.h5"
    command = ["convert", str(out), "--to", "trident", "--out", str(back), "--slide", str(slide_path)]
    done = runner.invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "from CLAM to TRIDENT" in done.output
    features = read_features(back)
    assert np.array_equal(features.values, bag.values)
    assert np.array_equal(features.grid.l0_rc, bag.grid.l0_rc)
    assert features.grid.tile_l0 == 34  # CLAM knows whole pixels only: 33.92
    assert Path(features.slide.path) == slide_path
    done = runner.invoke(app, command)
    assert done.exit_code == 1
    assert "--overwrite" in done.output
    shutil.rmtree(tmp_path / "clam" / "patches")
    done = runner.invoke(app, [*command, "--overwrite"])
    assert (done.exit_code, "Traceback" in done.output) == (1, False)
    assert "--patch-size" in done.output
    done = runner.invoke(app, [*command, "--overwrite", "--patch-size", "34"])
    assert done.exit_code == 0, done.output
