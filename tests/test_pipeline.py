"""Slide to map: files, resuming, agreement of its parts, and errors in words."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import napari_mil as nm
from napari_mil.errors import ExportError, FeaturesError, MapError, ModelError, OtherSlideError
from napari_mil.export import ExportOptions
from napari_mil.features import write_foreign
from napari_mil.kept_features import features_path
from napari_mil.progress import finish
from napari_mil.results import RunResult, iter_export

FILES = {
    "features.h5",
    "attention.h5",
    "tissue.geojson",
    "heatmap.png",
    "attention.geojson",
    "patches",
    "patches.csv",
    "run.json",
}


@pytest.fixture(scope="module")
def done(small_slide: Path, untrained_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult]:
    out = tmp_path_factory.mktemp("run") / "out"
    return out, nm.run(small_slide, model=untrained_model, out=out, device="cpu", top_k=7)


def test_run_leaves_the_files_that_the_design_names(done: tuple[Path, RunResult]) -> None:
    out, result = done
    assert {path.name for path in out.iterdir()} == FILES
    assert set(result.files) == FILES
    assert len(list((out / "patches").glob("*.png"))) == 7
    with Image.open(out / "heatmap.png") as picture:
        assert picture.size[0] >= 1000


def test_what_is_on_disk_is_what_was_returned(done: tuple[Path, RunResult]) -> None:
    out, result = done
    features, amap = nm.read_features(out / "features.h5"), nm.read_map(out / "attention.h5")
    np.testing.assert_array_equal(features.values, result.features.values)
    np.testing.assert_array_equal(features.grid.l0_rc, amap.grid.l0_rc)
    np.testing.assert_array_equal(amap.scores["attention"].raw, result.map.scores["attention"].raw)
    assert amap.scores["attention"].raw.sum() == pytest.approx(1.0, abs=1e-5)
    record = json.loads((out / "run.json").read_text())
    assert record["tiles"]["count"] == len(features)
    assert record["slide"]["quickhash"] == amap.slide.quickhash
    assert record["prediction"]["probabilities"] == pytest.approx([float(p) for p in amap.prediction.probabilities])
    assert sum(record["seconds"].values()) > 0


def test_the_table_lists_the_highest_patches_at_their_places(done: tuple[Path, RunResult]) -> None:
    out, result = done
    raw = result.map.scores["attention"].raw
    order = np.argsort(-raw, kind="stable")[:7]
    with (out / "patches.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(int(r["y"]), int(r["x"])) for r in rows] == [tuple(rc) for rc in result.map.grid.l0_rc[order].tolist()]
    np.testing.assert_allclose([float(r["score"]) for r in rows], raw[order], rtol=1e-5)


def test_the_step_by_step_way_gives_the_same(
    done: tuple[Path, RunResult], small_slide: Path, untrained_model: Path
) -> None:
    _, result = done
    with nm.open_slide(small_slide) as slide:
        mask = nm.find_tissue(slide)
        encoder = nm.load_encoder("colour-texture")
        grid = nm.tile(slide, mask, tile_px=encoder.info.tile_px, mpp=encoder.info.mpp)
        features = nm.extract(slide, grid, encoder, device="cpu")
    amap = nm.attention_map(nm.load_model(untrained_model), features)
    np.testing.assert_array_equal(features.values, result.features.values)
    np.testing.assert_array_equal(amap.scores["attention"].raw, result.map.scores["attention"].raw)


def test_a_second_run_reads_the_features_back(
    small_slide: Path, untrained_model: Path, done, tmp_path: Path, monkeypatch
) -> None:
    out, first = done
    from napari_mil.features import Encoder

    def no_encoding(self: Encoder, batch: object) -> None:
        raise AssertionError("features were there already")

    monkeypatch.setattr(Encoder, "encode_bytes", no_encoding)
    again = nm.run(small_slide, model=untrained_model, features_file=out / "features.h5", device="cpu")
    np.testing.assert_array_equal(again.map.scores["attention"].raw, first.map.scores["attention"].raw)


def test_a_cancelled_run_leaves_no_result_and_resumes(
    small_slide: Path, untrained_model: Path, done, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    steps = nm.iter_run(small_slide, model=untrained_model, out=out, device="cpu")
    for step in steps:
        if step.stage == "Reading and encoding patches" and step.done > 0:
            break
    steps.close()
    assert not (out / "features.h5").exists()
    assert not (out / "attention.h5").exists()
    result = nm.run(small_slide, model=untrained_model, out=out, device="cpu", top_k=7)
    np.testing.assert_array_equal(result.features.values, done[1].features.values)
    assert {path.name for path in out.iterdir()} == FILES


def test_export_later_equals_export_with_the_run(done, small_slide: Path, tmp_path: Path) -> None:
    out, _ = done
    files = finish(iter_export(out / "attention.h5", small_slide, tmp_path / "again", options=ExportOptions(top_k=7)))
    assert set(files) == {"patches", "patches.csv", "attention.geojson", "heatmap.png"}
    for name in ("patches.csv", "attention.geojson"):
        assert (tmp_path / "again" / name).read_text() == (out / name).read_text()
    with pytest.raises(ExportError, match="overwrit"):
        finish(iter_export(out / "attention.h5", small_slide, tmp_path / "again", options=ExportOptions(top_k=7)))


def test_a_map_of_another_slide_is_refused(done, small_cohort: Path, small_slide: Path, tmp_path: Path) -> None:
    out, _ = done
    other = next(path for path in small_cohort.parent.glob("*.tif") if path != small_slide)
    with pytest.raises(ExportError, match="another slide"):
        finish(iter_export(out / "attention.h5", other, tmp_path / "x"))


def test_a_model_that_does_not_fit_is_refused_before_the_work(small_slide: Path, tmp_path: Path) -> None:
    model = nm.create_model("attention", in_features=5)
    model.card = replace(model.card, encoder="colour-texture")
    with pytest.raises(ModelError, match="5 numbers per patch"):
        nm.run(small_slide, model=model, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("encoder", "dim"), [("uni2", 1536), ("colour-texture", 102)])
def test_a_foreign_model_of_other_length_is_refused_before_anything_is_fetched(
    small_slide: Path, shared_data: Path, tmp_path: Path, encoder: str, dim: int
) -> None:
    clam = shared_data / "weights" / "clam_sb_s0.pt"
    with pytest.raises(ModelError, match=f"takes 1024 numbers per patch; {encoder} gives {dim}"):
        nm.run(small_slide, model=clam, encoder=encoder, out=tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ModelError, match=r"which encoder it takes, only that it takes 1,024 numbers per patch"):
        nm.run(small_slide, model=clam, out=tmp_path / "out", device="cpu")


def test_a_model_that_names_no_encoder_asks_for_one(small_slide: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="which encoder"):
        nm.run(small_slide, model=nm.create_model("attention", in_features=5), out=tmp_path / "out")


def test_a_missing_model_names_the_models_folder(small_slide: Path, own_folders: Path) -> None:
    with pytest.raises(ModelError, match="models folder"):
        nm.run(small_slide, model="nowhere", out=own_folders / "out")


def test_an_output_folder_that_is_a_file_is_refused(small_slide: Path, untrained_model: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ExportError, match="choose another folder"):
        nm.run(small_slide, model=untrained_model, out=tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_feature_files_of_other_settings_have_other_names(small_slide: Path, own_folders: Path) -> None:
    encoder = nm.load_encoder("colour-texture")
    with nm.open_slide(small_slide) as slide, nm.open_slide(small_slide, mpp=0.6) as rescaled:
        names = {
            features_path(slide.ref, encoder, 64, 1.0),
            features_path(slide.ref, encoder, 64, 1.0),
            features_path(slide.ref, encoder, 32, 1.0),
            features_path(rescaled.ref, encoder, 64, 1.0),
        }
    assert len(names) == 3
    assert all(name.is_relative_to(own_folders) for name in names)


def test_provenance_names_the_seed_of_training(small_slide: Path, tmp_path: Path) -> None:
    from napari_mil.samples import DEMO_MODELS, sample_file

    result = nm.run(small_slide, model=sample_file(DEMO_MODELS[0]), features_file=tmp_path / "f.h5", device="cpu")
    assert result.map.provenance.seed == 0


def test_a_foreign_file_among_the_patches_is_said_before_the_work(
    small_slide: Path, untrained_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "out" / "patches").mkdir(parents=True)
    (tmp_path / "out" / "patches" / "notes.txt").write_text("mine")
    steps = nm.iter_run(small_slide, model=untrained_model, out=tmp_path / "out")
    with pytest.raises(ExportError, match=r"notes\.txt"):
        next(steps)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["patches"]


def test_a_features_folder_that_cannot_be_made_is_said_in_words(
    small_slide: Path, untrained_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NAPARI_MIL_FEATURES", str(tmp_path / "file" / "features"))
    with pytest.raises(FeaturesError, match="features"):
        nm.run(small_slide, model=untrained_model, device="cpu")


def test_qupath_tiles_begin_at_the_scanned_corner(done, small_slide: Path, tmp_path: Path, monkeypatch) -> None:
    """As in MIRAX: the whole picture is larger than what was scanned, and QuPath shows the latter."""
    from napari_mil.slides import Slide

    out, result = done
    monkeypatch.setattr(Slide, "bounds_origin_xy", (100.0, 40.0))
    finish(iter_export(out / "attention.h5", small_slide, tmp_path / "x", options=ExportOptions(top_k=1)))
    tiles = json.loads((tmp_path / "x" / "attention.geojson").read_text())["features"]
    corners = {tuple(tile["geometry"]["coordinates"][0][0]) for tile in tiles}
    assert corners == {(float(c) - 100, float(r) - 40) for r, c in result.map.grid.l0_rc}


def test_hub_names_make_one_plain_file_name(small_slide: Path, own_folders: Path) -> None:
    encoder = nm.load_encoder("colour-texture")
    encoder.info = replace(encoder.info, name="timm:hf-hub:Owner/model")
    with nm.open_slide(small_slide) as slide:
        path = features_path(slide.ref, encoder, 64, 1.0)
    assert path.parent == own_folders / "features"
    assert ":" not in path.name


@pytest.mark.parametrize("tool", ["trident", "clam", "stamp", "slideflow", "wsidata"])
def test_features_of_another_tool_give_the_map_that_extracting_gives(
    done: tuple[Path, RunResult], small_slide: Path, untrained_model: Path, tmp_path: Path, tool: str
) -> None:
    """To what the tool's own number format keeps: half precision of STAMP."""
    _, first = done
    source = tmp_path / tool / ("store" if tool == "wsidata" else f"x.{'pt' if tool == 'slideflow' else 'h5'}")
    write_foreign(source, first.features, tool)
    out = tmp_path / "out"
    result = nm.run(small_slide, model=untrained_model, features=source, out=out, device="cpu", top_k=2)
    np.testing.assert_array_equal(result.map.grid.l0_rc, first.map.grid.l0_rc)
    raw, expected = result.map.scores["attention"].raw, first.map.scores["attention"].raw
    np.testing.assert_allclose(raw, expected, rtol=2e-2 if tool == "stamp" else 1e-6)
    assert set(result.files) == FILES
    assert result.slide == first.slide
    assert f"covered by the patches of {source.name}" in json.loads((out / "run.json").read_text())["tissue_origin"]
    assert result.mask.area_mm2 == pytest.approx(len(first.features) * 0.064**2, rel=0.05)
    again = nm.run(small_slide, model=untrained_model, features=nm.read_features(out / "features.h5"), device="cpu")
    np.testing.assert_array_equal(again.map.scores["attention"].raw, raw)
    assert not again.files


def test_features_of_another_slide_are_refused_unless_accepted(
    done: tuple[Path, RunResult], small_cohort: Path, small_slide: Path, untrained_model: Path, tmp_path: Path
) -> None:
    out, first = done
    other = next(path for path in small_cohort.parent.glob("*.tif") if path != small_slide)
    for features in (out / "features.h5", first.features):
        with pytest.raises(OtherSlideError, match="made from another slide"):
            nm.run(other, model=untrained_model, features=features, out=tmp_path / "out", device="cpu")
        assert not (tmp_path / "out").exists()
        taken = nm.run(other, model=untrained_model, features=features, accept_features=True, device="cpu")
        np.testing.assert_array_equal(taken.map.scores["attention"].raw, first.map.scores["attention"].raw)
        assert taken.map.slide.path == str(other)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shape": (1200, 1601)}, "of 1601 x 1200 px, but .* has 1600 x 1200 px"),
        ({"mpp": (0.25, 0.25)}, "made at 0.25 microns per pixel of the slide, which is 0.5 now"),
        ({"quickhash": "", "mpp": None}, "lie outside the slide of 1600 x 1200 px"),
    ],
)
def test_size_scale_and_bounds_are_held_against_features(
    done: tuple[Path, RunResult], small_slide: Path, untrained_model: Path, change: dict, words: str
) -> None:
    _, first = done
    grid = first.features.grid
    if "quickhash" in change:
        grid = replace(grid, l0_rc=grid.l0_rc + 1600)
    features = replace(first.features, grid=grid, slide=replace(first.features.slide, **change))
    with pytest.raises(OtherSlideError, match=words):
        nm.run(small_slide, model=untrained_model, features=features, device="cpu")


def test_features_and_what_extracting_needs_exclude_one_another(
    done: tuple[Path, RunResult], small_slide: Path, untrained_model: Path
) -> None:
    with pytest.raises(ValueError, match="leave out encoder"):
        nm.run(small_slide, model=untrained_model, features=done[0] / "features.h5", encoder="colour-texture")
    model = nm.create_model("mean", in_features=7)
    with pytest.raises(ModelError, match="7 numbers per patch"):
        nm.run(small_slide, model=model, features=done[0] / "features.h5")


@pytest.fixture(scope="module")
def members(untrained_model: Path) -> list:
    first = nm.load_model(untrained_model)
    made = []
    for seed, pooling in enumerate(("gated-attention", "attention")):
        model = nm.create_model(
            pooling, in_features=first.card.in_features, class_names=first.card.class_names, seed=seed, dropout=0.25
        )
        model.card = replace(first.card, pooling=pooling, config=model.card.config, title=pooling)
        made.append(model)
    return made


def test_an_ensemble_is_run_at_once_and_said_in_the_record(done, small_slide: Path, members: list, tmp_path) -> None:
    features = nm.read_features(done[0] / "features.h5")
    out = tmp_path / "out"
    result = nm.run(
        small_slide, model=members, features=features, out=out, device="cpu", top_k=1, also=["integrated_gradients"]
    )
    wanted = nm.ensemble_map(members, features, also=["integrated_gradients"])
    np.testing.assert_array_equal(result.map.scores["attention_spread"].raw, wanted.scores["attention_spread"].raw)
    record = json.loads((out / "run.json").read_text())
    spread = record["prediction"]["spread"]
    assert (spread["method"], spread["members"]) == ("ensemble", 2)
    assert [card["pooling"] for card in spread["models"]] == ["gated-attention", "attention"]
    assert spread["probabilities"] == pytest.approx(wanted.prediction.spread.probabilities.tolist())
    assert record["scores"]["attention_spread"] == {"kind": "spread", "of": "attention"}
    assert record["scores"]["integrated_gradients"]["baseline"] == "zero features"


def test_passes_with_dropout_are_seeded_and_said_in_the_record(done, small_slide, members: list, tmp_path) -> None:
    features = nm.read_features(done[0] / "features.h5")
    options = {"features": features, "device": "cpu", "top_k": 1, "mc_dropout": 4, "seed": 9}
    result = nm.run(small_slide, model=members[0], out=tmp_path / "out", **options)
    wanted = nm.attention_map(members[0], features, mc_dropout=4, seed=9)
    np.testing.assert_array_equal(result.map.scores["attention"].raw, wanted.scores["attention"].raw)
    spread = json.loads((tmp_path / "out" / "run.json").read_text())["prediction"]["spread"]
    assert (spread["method"], spread["members"], spread["seed"]) == ("mc-dropout", 4, 9)


def _stages(steps, only: str) -> None:
    for step in steps:
        assert step.stage == only


def test_what_cannot_be_computed_is_refused_before_the_work(small_slide, untrained_model, members: list) -> None:
    for options, words in (
        ({"model": untrained_model, "mc_dropout": 5}, "no dropout"),
        ({"model": members, "mc_dropout": 5}, "of one model"),
        ({"model": [untrained_model, untrained_model]}, "given twice"),
        ({"model": []}, "No model"),
        ({"model": untrained_model, "also": ["saliency"]}, "no further score saliency"),
    ):
        steps = nm.iter_run(small_slide, device="cpu", **options)
        with pytest.raises((ModelError, MapError), match=words):
            _stages(steps, "Opening the slide")
    with pytest.raises(ValueError, match="2 passes or more"):
        next(nm.iter_run(small_slide, model=untrained_model, mc_dropout=1))
