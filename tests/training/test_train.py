"""A whole training run: what it finds, what it leaves, what it never looks at."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from napari_mil.describe_training import describe_training
from napari_mil.errors import CohortError, ExportError, ModelError
from napari_mil.features import EncoderInfo, Features, write_features
from napari_mil.models import check_fit, load_model
from napari_mil.progress import finish
from napari_mil.slides import SlideRef
from napari_mil.tiling import TileGrid
from napari_mil.training import (
    Bags,
    Recipe,
    fingerprint,
    iter_train,
    load_bags,
    make_folds,
    predict,
    read_cohort,
    youden_threshold,
)

QUICK = {
    "folds": 3, "recipe": Recipe(epochs=30, lr=1e-2, patience=12), "device": "cpu",
    "config": {"hidden": 16, "attention_dim": 8},
}  # fmt: skip


def changed(**changes):
    return {**QUICK, "recipe": replace(QUICK["recipe"], **changes)}


@pytest.fixture(scope="module")
def trained(separable, tmp_path_factory):
    cohort, bags = separable()
    out = tmp_path_factory.mktemp("runs") / "new" / "run"
    steps = iter_train(cohort, bags, "gated-attention", out, title="Toy", task="Tells toys apart.", **QUICK)
    progress = []
    while True:
        try:
            progress.append(next(steps))
        except StopIteration as end:
            return cohort, bags, end.value, progress


def test_separable_cohort_is_told_apart(trained):
    _, _, result, _ = trained
    assert result.auc_mean > 0.97
    assert result.auc_pooled > 0.97
    assert len(result.folds) == 3
    assert result.n_slides == result.n_patients == 24
    assert result.auc_mean == pytest.approx(np.mean([fold.auc for fold in result.folds]))
    assert result.auc_sd == pytest.approx(np.std([fold.auc for fold in result.folds], ddof=1))


def test_attention_of_the_final_model_finds_the_patches_that_matter(trained):
    cohort, bags, result, _ = trained
    import torch

    model = load_model(result.model_path)
    found = [
        set(model(torch.from_numpy(bags.values[slide])).scores["contribution"].raw[1].argsort()[-3:].tolist())
        for slide, label in zip(cohort.slides, cohort.labels, strict=True)
        if label == "tumour"
    ]
    assert np.mean([len(top & {0, 1, 2}) / 3 for top in found]) > 0.9


def test_metrics_table_holds_every_epoch(trained):
    _, _, result, _ = trained
    table = pd.read_csv(result.out / "metrics.csv")
    assert list(table.columns) == ["fold", "epoch", "train_loss", "val_loss", "val_auc", "lr"]
    for fold in result.folds:
        rows = table[table["fold"] == fold.fold]
        assert list(rows["epoch"]) == list(range(1, len(rows) + 1))
        assert int(rows["val_loss"].to_numpy().argmin()) + 1 == fold.best_epoch
        assert len(rows) == min(30, fold.best_epoch + 12)


def test_predictions_are_those_of_the_fold_that_never_saw_the_slide(trained):
    cohort, bags, result, _ = trained
    table = pd.read_csv(result.out / "predictions.csv")
    assert list(table.columns) == ["slide", "patient", "label", "fold", "p_normal", "p_tumour"]
    assert sorted(table["slide"]) == sorted(cohort.slides)
    for number, fold in enumerate(make_folds(cohort, 3, 0), start=1):
        rows = table[table["fold"] == number].set_index("slide")
        assert set(rows.index) == {cohort.slides[row] for row in fold.test}
        model = load_model(result.out / f"fold_{number}.safetensors")
        for row in fold.test:
            slide = cohort.slides[row]
            expected = predict(model, bags.values[slide])
            np.testing.assert_allclose(rows.loc[slide, ["p_normal", "p_tumour"]].astype(float), expected, atol=1e-12)


def test_validation_predictions_are_of_the_slides_that_stopped_the_fold(trained):
    cohort, bags, result, _ = trained
    table = pd.read_csv(result.out / "validation.csv")
    assert list(table.columns) == ["slide", "patient", "label", "fold", "p_normal", "p_tumour"]
    for number, fold in enumerate(make_folds(cohort, 3, 0), start=1):
        rows = table[table["fold"] == number]
        assert list(rows["slide"]) == [cohort.slides[row] for row in fold.val]
        model = load_model(result.out / f"fold_{number}.safetensors")
        expected = [predict(model, bags.values[slide]) for slide in rows["slide"]]
        np.testing.assert_allclose(rows[["p_normal", "p_tumour"]].to_numpy(float), expected, atol=1e-12)


def test_every_epoch_is_told_with_its_figures(trained):
    _, _, result, progress = trained
    table = pd.read_csv(result.out / "metrics.csv")
    told = [(step.fold, step.epoch.epoch, step.epoch.val_auc) for step in progress if step.fold]
    assert told == list(table[["fold", "epoch", "val_auc"]].itertuples(index=False, name=None))
    final = [step.epoch.epoch for step in progress if step.fold == 0]
    assert final == list(range(1, result.epochs + 1))
    assert all(step.n_folds == 3 for step in progress)


def test_what_of_large_slides_was_looked_at_is_said(separable, tmp_path):
    cohort, bags = separable()
    result = finish(iter_train(cohort, bags, "mean", tmp_path, **{**changed(epochs=2, max_patches=8), "config": {}}))
    larger = sum(len(bag) > 8 for bag in bags.values.values())
    assert 0 < larger < 24
    said = load_model(result.model_path).card.training["patches_per_slide"]
    assert said["subsampling"] == result.subsampling
    assert result.subsampling.startswith(f"{larger} of 24 slides have more than 8 patches: 8 of theirs were drawn")
    assert said["most"] == max(len(bag) for bag in bags.values.values())
    record, text = describe_training(result, tmp_path)
    assert result.subsampling in text
    assert record["subsampling"] == result.subsampling


def test_card_says_what_the_model_is_and_how_it_was_measured(trained):
    _, bags, result, _ = trained
    card = load_model(result.model_path).card
    assert (card.title, card.task, card.class_names) == ("Toy", "Tells toys apart.", ("normal", "tumour"))
    assert check_fit(card, bags.encoder) is None
    assert card.training["auc_mean"] == pytest.approx(result.auc_mean)
    assert card.training["slides_per_class"] == {"normal": 12, "tumour": 12}
    assert (card.training["n_slides"], card.training["n_patients"]) == (24, result.n_patients)
    assert card.training["fold_aucs"] == pytest.approx([fold.auc for fold in result.folds])
    assert "fold models on patients they had not seen" in card.training["note"]
    assert result.epochs == int(np.median([fold.best_epoch for fold in result.folds]))
    fold_card = load_model(result.out / "fold_2.safetensors").card
    assert fold_card.training["auc"] == pytest.approx(result.folds[1].auc)


def test_cards_hold_the_threshold_that_validation_chose_and_what_was_seen(trained):
    cohort, _, result, _ = trained
    validation = pd.read_csv(result.out / "validation.csv")
    chosen = []
    for number, fold in enumerate(make_folds(cohort, 3, 0), start=1):
        rows = validation[validation["fold"] == number]
        chosen.append(youden_threshold((rows["label"] == "tumour").to_numpy(), rows["p_tumour"].to_numpy()))
        training = load_model(result.out / f"fold_{number}.safetensors").card.training
        assert training["threshold"] == pytest.approx(chosen[-1], abs=1e-12)
        assert training["seen"]["slides"] == sorted(fingerprint(cohort.slides[r]) for r in (*fold.train, *fold.val))
        assert not {fingerprint(cohort.patients[row]) for row in fold.test} & {*training["seen"]["patients"]}
    training = load_model(result.model_path).card.training
    assert training["threshold"] == pytest.approx(np.median(chosen), abs=1e-12)
    assert training["seen"]["slides"] == sorted(map(fingerprint, cohort.slides))


def test_a_second_training_leaves_nothing_of_the_first_to_mix_with(separable, tmp_path):
    cohort, bags = separable()
    finish(iter_train(cohort, bags, "mean", tmp_path, **{**changed(epochs=1), "config": {}}))
    first = (tmp_path / "model.safetensors").read_bytes()
    steps = iter_train(cohort, bags, "max", tmp_path, **{**changed(epochs=1), "config": {}, "folds": 2})
    next(steps)
    assert (tmp_path / "predictions.csv").is_file(), "nothing is lost before there is something new"
    next(steps)
    steps.close()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"fold_1.safetensors", "model.safetensors", "resume.pt"}
    assert load_model(tmp_path / "fold_1.safetensors").card.pooling == "max"
    assert (tmp_path / "model.safetensors").read_bytes() == first
    finish(iter_train(cohort, bags, "max", tmp_path, **{**changed(epochs=1), "config": {}, "folds": 2}, resume=True))
    assert sorted(path.name for path in tmp_path.glob("*.safetensors")) == [
        "fold_1.safetensors", "fold_2.safetensors", "model.safetensors"
    ]  # fmt: skip
    assert load_model(tmp_path / "model.safetensors").card.pooling == "max"


def test_a_threshold_is_for_two_classes_only(separable, tmp_path):
    cohort, bags = separable(18, ("a", "b", "c"))
    result = finish(iter_train(cohort, bags, "mean", tmp_path, **{**changed(epochs=2), "config": {}}))
    assert "threshold" not in load_model(result.model_path).card.training
    assert "threshold" not in load_model(tmp_path / "fold_1.safetensors").card.training


def test_summary_and_picture(trained):
    _, _, result, _ = trained
    summary = json.loads((result.out / "summary.json").read_text(encoding="utf-8"))
    assert summary["auc_pooled"] == result.auc_pooled
    assert [fold["best_epoch"] for fold in summary["folds"]] == [fold.best_epoch for fold in result.folds]
    assert summary["seed"] == 0
    picture = np.asarray(Image.open(result.out / "roc.png").convert("RGB"))
    assert picture.shape == (720, 720, 3)
    accent = np.abs(picture.astype(int) - [0x1F, 0x6F, 0xB2]).max(axis=2) < 30
    assert accent[:360, :360].any()  # the mean curve runs through the upper left, where good models are


def test_progress_counts_epochs_upwards_to_the_end(trained):
    *_, progress = trained
    done = [step.done for step in progress]
    assert done == sorted(done)
    assert {step.total for step in progress} == {120}
    assert {step.unit for step in progress} == {"epochs"}
    assert progress[0].message.startswith("fold 1 of 3, epoch 1, validation AUC")
    assert progress[-1].message.startswith("final model, all slides")


def test_same_seed_gives_the_same_files(trained, separable, tmp_path):
    cohort, bags, result, _ = trained
    again = finish(
        iter_train(cohort, bags, "gated-attention", tmp_path, title="Toy", task="Tells toys apart.", **QUICK)
    )
    for name in ("model.safetensors", "fold_3.safetensors", "metrics.csv", "predictions.csv", "summary.json"):
        assert (again.out / name).read_bytes() == (result.out / name).read_bytes(), name
    other = finish(iter_train(cohort, bags, "gated-attention", tmp_path / "other", **changed(seed=1)))
    assert (other.out / "metrics.csv").read_bytes() != (result.out / "metrics.csv").read_bytes()


def test_labels_of_a_test_fold_change_nothing_that_was_chosen(separable, tmp_path):
    """Corrupting the features of one fold's test slides leaves that fold's model as it was."""
    cohort, bags = separable()
    fold = make_folds(cohort, 3, 0)[0]
    noise = {cohort.slides[row]: np.full((3, 4), 9e3, np.float32) for row in fold.test}
    spoilt = Bags({**bags.values, **noise}, bags.encoder)
    models = []
    for name, some in (("plain", bags), ("spoilt", spoilt)):
        steps = iter_train(cohort, some, "mean", tmp_path / name, **{**QUICK, "config": {"hidden": 8}})
        while not (tmp_path / name / "fold_1.safetensors").exists():
            next(steps)
        steps.close()
        models.append(load_model(tmp_path / name / "fold_1.safetensors"))
        assert not (tmp_path / name / "model.safetensors").exists()  # closing cancelled the rest
    for a, b in zip(models[0].state_dict().values(), models[1].state_dict().values(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_three_classes(separable, tmp_path):
    cohort, bags = separable(36, ("a", "b", "c"))
    result = finish(iter_train(cohort, bags, "attention", tmp_path, **changed(epochs=40)))
    assert result.auc_pooled > 0.9
    table = pd.read_csv(tmp_path / "predictions.csv")
    np.testing.assert_allclose(table[["p_a", "p_b", "p_c"]].sum(axis=1), 1)
    assert (tmp_path / "roc.png").stat().st_size > 10_000


def test_given_split_trains_one_fold_and_predicts_its_test_slides(separable, tmp_path):
    cohort, bags = separable()
    splits = tuple("test" if i >= 18 else "val" if i >= 12 else "train" for i in range(24))
    result = finish(iter_train(replace(cohort, splits=splits), bags, "max", tmp_path, **{**QUICK, "config": {}}))
    assert [(fold.n_train, fold.n_val, fold.n_test) for fold in result.folds] == [(12, 6, 6)]
    assert np.isnan(result.auc_sd)
    assert sorted(pd.read_csv(tmp_path / "predictions.csv")["slide"]) == list(cohort.slides[18:])
    assert json.loads((tmp_path / "summary.json").read_text())["auc_sd"] is None


def test_faults_are_named_before_any_work(separable, tmp_path):
    cohort, bags = separable()
    with pytest.raises(ModelError, match="no model named"):
        finish(iter_train(cohort, bags, "none", tmp_path / "a", device="cpu"))
    with pytest.raises(CohortError, match="too few for 13 folds"):
        finish(iter_train(cohort, bags, "mean", tmp_path / "b", folds=13, device="cpu"))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ExportError, match="Cannot make the folder"):
        finish(iter_train(cohort, bags, "mean", tmp_path / "file", device="cpu"))
    with pytest.raises(CohortError, match="s00 has no patches"):
        Bags({**bags.values, "s00": np.empty((0, 4), np.float32)}, bags.encoder)
    with pytest.raises(CohortError, match="s00 are not all finite"):
        Bags({**bags.values, "s00": np.full((2, 4), np.nan, np.float32)}, bags.encoder)


def features_of(values, encoder):
    n = len(values)
    l0_rc = np.stack([np.zeros(n, np.int64), 64 * np.arange(n, dtype=np.int64)], axis=1)
    grid = TileGrid(l0_rc, 64.0, 64.0, encoder.tile_px, encoder.mpp, np.ones(n, np.float32))
    quickhash = f"partial:{values.tobytes().hex()[:16]}"
    return Features(values, grid, encoder, SlideRef("s.tif", quickhash, (1.0, 1.0), (64, 64 * n)))


@pytest.fixture
def feature_folder(tmp_path, table):
    encoder = EncoderInfo("toy", "1", "0123456789abcdef", 4, 64, 1.0)
    g = np.random.default_rng(0)
    values = {stem: g.normal(size=(3, 4)).astype(np.float32) for stem in "abc"}
    (tmp_path / "b").mkdir()
    write_features(tmp_path / "a.h5", features_of(values["a"], encoder))
    write_features(tmp_path / "b" / "features.h5", features_of(values["b"], encoder))
    write_features(tmp_path / "c.h5", features_of(values["c"], encoder))
    return tmp_path, table("slide,label", "/x/a.svs,0", "b,1", "c.tif,1"), values, encoder


def test_bags_are_found_by_stem_in_either_layout(feature_folder):
    folder, path, values, encoder = feature_folder
    bags = load_bags(read_cohort(path), folder)
    assert bags.encoder == encoder
    for slide, stem in (("/x/a.svs", "a"), ("b", "b"), ("c.tif", "c")):
        np.testing.assert_array_equal(bags.values[slide], values[stem])


def test_missing_features_are_counted_and_named(feature_folder):
    folder, path, *_ = feature_folder
    (folder / "a.h5").unlink()
    (folder / "c.h5").unlink()
    with pytest.raises(CohortError, match=r"2 of 3 slides have no features in .*: /x/a\.svs, c\.tif\. Extract"):
        load_bags(read_cohort(path), folder)


@pytest.mark.parametrize("change", [{"weights_hash": "ffff"}, {"name": "other"}, {"tile_px": 32}, {"mpp": 0.5}])
def test_features_of_different_encoders_are_refused(feature_folder, change):
    folder, path, values, encoder = feature_folder
    write_features(folder / "c.h5", features_of(values["c"], replace(encoder, **change)))
    with pytest.raises(CohortError, match=r"c\.tif .*were made differently"):
        load_bags(read_cohort(path), folder)


def test_two_trainings_into_one_folder_are_refused_and_the_first_goes_on(separable, tmp_path):
    cohort, bags = separable()
    first = iter_train(cohort, bags, "mean", tmp_path, **changed(epochs=3, patience=3) | {"config": {}})
    next(first)
    with pytest.raises(ExportError, match=r"Another training writes into .*process \d+"):
        next(iter_train(cohort, bags, "mean", tmp_path, **changed(epochs=3, patience=3) | {"config": {}}))
    next(first)
    first.close()
    assert not (tmp_path / "training.lock").exists()
    next(iter_train(cohort, bags, "mean", tmp_path, **changed(epochs=3, patience=3) | {"config": {}}))
