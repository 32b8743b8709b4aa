"""Encoder and pooling as one network: gradients, what it learns, what it leaves, and what it refuses."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st

import napari_mil as nm
from napari_mil.errors import CohortError, EncoderError, ExportError, NapariMilError, SlideError, TilingError
from napari_mil.features import Encoder, EncoderInfo, list_encoders, load_encoder, save_encoder
from napari_mil.models import check_fit, create_model, load_model
from napari_mil.progress import Pacer, finish
from napari_mil.tiling import TileGrid
from napari_mil.training import Cohort, DeepMIL, FineTuning, _deep_patches, iter_fine_tune, read_cohort
from napari_mil.training._deep_fit import _rate, fit_deep
from napari_mil.training._deep_patches import as_images, augmented, spread, spread_tiles
from napari_mil.training._deep_predict import predict_pool
from napari_mil.training._deep_slides import find_slides
from napari_mil.training._results import Epoch
from napari_mil.triton_guard import without_triton

EDGE, MPP = 16, 4.0


class Small(torch.nn.Module):
    """Two convolutions with a batch norm between them; 6 numbers a patch."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(8)
        self.second = torch.nn.Conv2d(8, 6, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.second(torch.relu(self.norm(self.first(x))))).mean((2, 3))


def encoder_of(module: torch.nn.Module, dim: int = 6, name: str = "small") -> Encoder:
    info = EncoderInfo(name, "1", "0123456789abcdef", dim, EDGE, MPP)
    return Encoder(module, info, title="Small", source="test", licence="MIT", mean=(0.7, 0.5, 0.6), std=(0.2, 0.2, 0.2))


def small_encoder(seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    return encoder_of(Small())


def pooling_of(dim: int = 6, name: str = "gated-attention") -> Any:
    return create_model(name, in_features=dim, class_names=("normal", "tumour"), seed=1)


def noise(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, EDGE, EDGE), dtype=torch.uint8, generator=generator)


def cross_entropy(logits: torch.Tensor, target: int) -> torch.Tensor:
    return torch.logsumexp(logits, 0) - logits[target]


def test_prediction_is_the_poolings_on_the_encoders_features() -> None:
    encoder, pooling, images = small_encoder(), pooling_of(), noise(11)
    model = DeepMIL(encoder, pooling, chunk=4)
    with torch.inference_mode():
        features = encoder(images.float() / 255)
        torch.testing.assert_close(model.features(images), features)
        torch.testing.assert_close(model.features(images.float() / 255), features)
        output = model(images, scores=True)
        torch.testing.assert_close(output.logits, pooling(features).logits)
        assert output.scores["attention"].raw.shape == (11,)


def test_splitting_folds_the_standardisation_into_the_pooling() -> None:
    encoder, images = small_encoder(), noise(9)
    model = DeepMIL(encoder, pooling_of())
    model.standardise(torch.linspace(-1, 1, 6), torch.linspace(0.1, 3, 6))
    with torch.inference_mode():
        before = model(images).logits
        pooling = model.split()
        torch.testing.assert_close(pooling(encoder(images.float() / 255)).logits, before, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model(images).logits, before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "chunk"), [("gated-attention", 4), ("max", 1), ("clam-sb", 64)])
def test_checkpointing_changes_no_gradient(name: str, chunk: int) -> None:
    def gradients(chunk: int, checkpointing: bool) -> list[torch.Tensor]:
        model = DeepMIL(small_encoder(), pooling_of(name=name), chunk=chunk, checkpointing=checkpointing)
        model.loss(noise(13), 1, cross_entropy).backward()
        return [p.grad for p in model.parameters() if p.grad is not None]

    one, same_chunks, whole = gradients(chunk, True), gradients(chunk, False), gradients(13, False)
    assert len(one) > 6
    assert any(g.abs().max() > 1e-4 for g in one[:6]), "the encoder's own gradients"
    for mine, exact, near in zip(one, same_chunks, whole, strict=True):
        assert torch.equal(mine, exact)
        torch.testing.assert_close(mine, near, rtol=1e-4, atol=1e-6)


def test_activations_of_one_chunk_at_most_are_kept() -> None:
    def kept_bytes(checkpointing: bool) -> int:
        model = DeepMIL(small_encoder(), pooling_of(), chunk=4, checkpointing=checkpointing)
        kept: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        images = noise(64)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model.features(images).sum().backward()
        return sum(kept.values())

    patches = 64 * 3 * EDGE**2  # bytes as they are given, which are kept either way
    assert kept_bytes(True) < 1.2 * patches
    assert kept_bytes(False) > 20 * patches


def test_encoder_stays_in_evaluation_mode() -> None:
    model = DeepMIL(small_encoder(), pooling_of())
    before = model.encoder.norm.running_mean.clone()
    model.train()
    assert model.training
    assert model.pooling.training
    assert not model.encoder.norm.training
    model.loss(noise(8), 0, cross_entropy).backward()
    assert torch.equal(model.encoder.norm.running_mean, before)
    assert model.encoder.norm.weight.grad is not None


def textured(odd: int, seed: int) -> np.ndarray:
    """Return 12 patches of stripes of which `odd` are checkered instead: the same pixels in another order."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:EDGE, :EDGE]
    patterns = ((y + 0 * x) // 2 % 2, (y // 2 + x // 2) % 2)
    colours = rng.integers(90, 200, (12, 2, 3))
    patches = [np.where(patterns[k < odd][..., None], *colours[k]) for k in range(12)]
    return rng.permutation(np.array(patches, np.uint8))


def made_problem() -> tuple[DeepMIL, list[np.ndarray], np.ndarray]:
    """Return a model whose encoder gives every patch the same numbers, and bags that differ in texture alone."""
    encoder = small_encoder(3)
    with torch.no_grad():
        encoder.module.second.weight.zero_()
        encoder.module.second.bias.fill_(0.1)
    targets = np.array([0, 1] * 6)
    pools = [textured(4 * int(target), seed) for seed, target in enumerate(targets)]
    return DeepMIL(encoder, pooling_of(), chunk=12), pools, targets


def run_fit(model: DeepMIL, *args: Any, **options: Any) -> tuple[int, list[Epoch], int]:
    fitting, epochs, slides = fit_deep(model, *args, **options), [], 0
    while True:
        try:
            found = next(fitting)
        except StopIteration as end:
            return end.value, epochs, slides
        if isinstance(found, Epoch):
            epochs.append(found)
        else:
            slides += found


def predict(model: DeepMIL, pool: np.ndarray) -> np.ndarray:
    predicting = predict_pool(model, pool)
    while True:
        try:
            assert next(predicting) is False
        except StopIteration as end:
            return np.asarray(end.value)


def test_an_encoder_that_sees_no_difference_learns_to() -> None:
    model, pools, targets = made_problem()
    everyone, nobody = np.arange(12), np.empty(0, np.int64)
    assert np.ptp([predict(model, pool) for pool in pools], axis=0).max() < 1e-6, "all slides look the same"
    recipe = FineTuning(epochs=30, encoder_lr=2e-2, lr=2e-3, bags_per_step=2, patches=8, chunk=12)
    kept, epochs, slides = run_fit(model, pools, targets, everyone, nobody, recipe)
    assert (kept, len(epochs), slides) == (30, 30, 30 * 12)
    assert epochs[0].train_loss > 0.5
    assert epochs[-1].train_loss < 0.1
    assert math.isnan(epochs[-1].val_loss)
    found = np.array([predict(model, pool).argmax() for pool in pools])
    assert (found == targets).all()


def test_same_seed_same_weights_and_validation_alone_stops() -> None:
    recipe = FineTuning(epochs=9, encoder_lr=2e-2, lr=5e-3, patience=2, patches=6, seed=4)
    states = []
    for _ in range(2):
        model, pools, targets = made_problem()
        targets[8:] = 1 - targets[8:]  # what is learned is wrong on validation
        kept, epochs, _ = run_fit(model, pools, targets, np.arange(8), np.arange(8, 12), recipe)
        losses = [epoch.val_loss for epoch in epochs]
        assert kept == int(np.argmin(losses)) + 1
        assert len(epochs) == min(9, kept + 2) < 9
        states.append(model.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_learning_rates_rise_then_fall() -> None:
    rates = [_rate(step, warm_up=4, total=12) for step in range(12)]
    np.testing.assert_allclose(rates[:5], [0.25, 0.5, 0.75, 1.0, 1.0])
    np.testing.assert_allclose(rates[8], 0.5)
    assert all(a > b > 0 for a, b in pairwise(rates[4:]))
    groups = list(DeepMIL(small_encoder(), pooling_of()).parameter_groups(1e-5, 1e-3))
    assert [group["lr"] for group in groups] == [1e-5, 1e-3]
    assert len(groups[0]["params"]) == 6


@pytest.mark.parametrize(
    ("field", "value"), [("epochs", 0), ("patches", 0), ("chunk", -1), ("lr", 0.0), ("encoder_lr", math.inf)]
)
def test_recipes_are_checked(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        FineTuning(**{field: value})
    with pytest.raises(ValueError, match="numbers"):
        DeepMIL(small_encoder(), pooling_of(7))


def test_a_loss_that_is_not_finite_is_said() -> None:
    model, pools, targets = made_problem()
    with torch.no_grad():
        model.pooling.head.bias.fill_(math.nan)
    with pytest.raises(NapariMilError, match="went astray in epoch 1"):
        run_fit(model, pools, targets, np.arange(12), np.empty(0, np.int64), FineTuning())


@given(st.integers(1, 5000), st.integers(1, 700), st.integers(0, 9))
def test_draws_are_spread(count: int, most: int, seed: int) -> None:
    places = spread(count, most, np.random.default_rng(seed))
    k = min(count, most)
    assert len(places) == k
    edges = np.arange(k + 1) * count // k
    assert ((places >= edges[:-1]) & (places < edges[1:])).all()


def test_tiles_are_spread_over_the_tissue() -> None:
    rows, cols = np.mgrid[:32, :32] * 53
    l0_rc = np.stack([rows.ravel(), cols.ravel()], 1).astype(np.int64)
    grid = TileGrid(l0_rc, 53.2, 53.2, EDGE, MPP, np.ones(1024, np.float32))
    part = spread_tiles(grid, 64, np.random.default_rng(0))
    cells = {(int(r) // 53 // 4, int(c) // 53 // 4) for r, c in part.l0_rc}
    assert len(part) == len(cells) == 64, "one of each square of 4 x 4"
    assert len(spread_tiles(grid, 5000, np.random.default_rng(0))) == 1024


def test_patches_are_turned_and_mirrored_and_little_else(monkeypatch: pytest.MonkeyPatch) -> None:
    images = noise(1).expand(200, -1, -1, -1)
    changed = augmented(images, np.random.default_rng(0))
    mean = images[0].float().mean()
    assert (changed.float().mean() / mean - 1).abs() < 0.11
    assert not (changed == images).all()
    monkeypatch.setattr(_deep_patches, "_JITTER", 0.0)
    ways = [view for k in range(4) for view in (images[0].rot90(k, (1, 2)), images[0].rot90(k, (1, 2)).flip(2))]
    found = [
        [w for w, way in enumerate(ways) if torch.equal(image, way)]
        for image in augmented(images, np.random.default_rng(1))
    ]
    assert all(len(which) == 1 for which in found)
    counts = np.bincount([which[0] for which in found], minlength=8)
    assert counts.min() > 10


# --- encoders as files -----------------------------------------------------------------------------------------------


def scripted(path: Path, *, frozen: bool = False) -> Path:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.script(Small().eval())
        (torch.jit.freeze(module) if frozen else module).save(path)
    note = {"name": path.stem, "title": "Scripted", "licence": "MIT", "version": "3", "tile_px": EDGE, "mpp": MPP}
    path.with_name(path.name + ".json").write_text(json.dumps(note | {"mean": [0.5] * 3, "std": [0.25] * 3}))
    return path


def exported(path: Path) -> Path:
    with without_triton():
        batch = torch.export.Dim("batch", min=1)
        example = (torch.zeros(2, 3, EDGE, EDGE),)
        torch.export.save(torch.export.export(Small().eval(), example, dynamic_shapes=({0: batch},)), path)
    path.with_name(path.name + ".json").write_text(json.dumps({"tile_px": EDGE, "mpp": MPP}))
    return path


def timm_folder(path: Path) -> Path:
    with without_triton():
        timm = pytest.importorskip("timm", reason="the extra 'encoders' is not installed")
        torch.manual_seed(0)
        timm.models.save_for_hf(timm.create_model("test_resnet", num_classes=0), str(path), safe_serialization=True)
    path.with_name(path.name + ".json").write_text(json.dumps({"tile_px": 32, "mpp": MPP, "licence": "Apache-2.0"}))
    return path


@pytest.fixture(autouse=True)
def _own_models_folder(own_folders: Path) -> None:
    """Keep tests away from the user's models."""


MAKERS = {"script.pt": scripted, "program.pt2": exported, "folder": timm_folder}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_trained_encoder_comes_back_from_its_file(kind: str, tmp_path: Path) -> None:
    encoder = load_encoder(MAKERS[kind](tmp_path / kind))
    before = encoder.info
    model = DeepMIL(encoder, pooling_of(before.dim), chunk=4)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
    images = torch.rand(5, 3, before.tile_px, before.tile_px, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        untrained = encoder(images)
    model.loss(images, 1, cross_entropy).backward()
    optimiser.step()
    saved = save_encoder(encoder, tmp_path, "tuned", title="Tuned")
    again = load_encoder(saved.source)
    assert again.info == saved.info
    assert (again.info.name, again.info.tile_px, again.info.mpp) == ("tuned", before.tile_px, before.mpp)
    assert (again.title, again.licence, again.colours) == ("Tuned", encoder.licence, encoder.colours)
    assert again.info.weights_hash != before.weights_hash
    with torch.inference_mode():
        torch.testing.assert_close(again(images), encoder(images), rtol=1e-4, atol=1e-5)
        assert (again(images) - untrained).abs().max() > 1e-3
    DeepMIL(again, pooling_of(before.dim)).loss(images, 1, cross_entropy).backward()  # and can be trained on
    note = json.loads(Path(saved.source + ".json").read_text())
    assert note["weights_hash"] == again.info.weights_hash
    left = {p.name for p in tmp_path.iterdir()}
    with pytest.raises(EncoderError, match="there already"):
        save_encoder(encoder, tmp_path, "tuned")
    assert {p.name for p in tmp_path.iterdir()} == left
    with pytest.raises(ValueError, match="letters"):
        save_encoder(encoder, tmp_path, "a/b")


class Moody(torch.nn.Module):
    """Gives other numbers whenever it is called: no file can hold what it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3)) * self.scale + torch.rand(1)


class NoGradient(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3)) * self.scale.detach()


def test_encoders_that_cannot_be_trained_or_kept(tmp_path: Path) -> None:
    colour_texture = load_encoder("colour-texture", tile_px=EDGE)
    frozen = load_encoder(scripted(tmp_path / "frozen.pt", frozen=True))
    for encoder, words in (
        (colour_texture, "colour-texture has no weights to be trained"),
        (frozen, "frozen has no weights to be trained"),
        (encoder_of(NoGradient(), 3, "still"), "still carries no gradients"),
    ):
        with pytest.raises(EncoderError, match=words):
            DeepMIL(encoder, pooling_of(encoder.info.dim))
    with pytest.raises(EncoderError, match="cannot be written so that it computes the same"):
        save_encoder(encoder_of(Moody(), 3, "moody"), tmp_path, "moody")
    assert not list(tmp_path.glob("*moody*"))


# --- from slides to a model that is used ------------------------------------------------------------------------------


def write_slide(path: Path, label: str, seed: int) -> None:
    """Write a slide of 640 x 640 px at 2 um/px: pink tissue on glass, in one half of a tumour's purple."""
    rng = np.random.default_rng(seed)
    image = np.full((640, 640, 3), 244, np.uint8)
    tissue = np.array([215, 140, 185]) + rng.integers(-18, 19, (480, 480, 3))
    if label == "tumour":
        tissue[:240] += np.array([-80, -70, -25])
    image[80:560, 80:560] = np.clip(tissue, 0, 255)
    resolution = {"resolution": (5000, 5000), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, image, tile=(128, 128), photometric="rgb", compression="deflate", **resolution)


LABELS = ("normal", "tumour") * 5
SPLITS = ("train",) * 6 + ("val",) * 2 + ("test",) * 2


@pytest.fixture(scope="module")
def cohort_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    lines = ["slide,label,patient,split"]
    for k, (label, split) in enumerate(zip(LABELS, SPLITS, strict=True)):
        write_slide(folder / f"s{k}.tif", label, k)
        lines.append(f"s{k},{label},P{k},{split}")
    table = folder / "cohort.csv"
    table.write_text("\n".join(lines) + "\n")
    return table


RECIPE = FineTuning(epochs=4, encoder_lr=1e-3, lr=1e-3, bags_per_step=2, patches=16, chunk=16, patience=4, seed=1)


@pytest.fixture(scope="module")
def tuned(cohort_table: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("tuned")
    encoder = load_encoder(timm_folder(folder / "base"))
    images = noise(3)[..., :EDGE].repeat(1, 1, 2, 2) / 255
    with torch.inference_mode():
        before = encoder(images)
    steps = iter_fine_tune(
        read_cohort(cohort_table), cohort_table.parent, encoder, "gated-attention", folder / "out",
        recipe=RECIPE, patches_per_slide=40, device="cpu", title="T", task="Tells purple.",
    )  # fmt: skip
    progress = []
    while True:
        try:
            progress.append(next(steps))
        except StopIteration as end:
            result = end.value
            break
    with torch.inference_mode():
        after = encoder(images)
    return SimpleNamespace(result=result, progress=progress, before=before, after=after, out=folder / "out")


def test_what_fine_tuning_leaves(tuned: SimpleNamespace) -> None:
    result = tuned.result
    assert {path.name for path in tuned.out.iterdir()} == {
        "base-tuned", "base-tuned.json", "model.safetensors", "metrics.csv", "predictions.csv", "validation.csv",
        "roc.png", "summary.json",
    }  # fmt: skip
    assert (result.n_slides, result.n_patients, len(result.folds)) == (10, 10, 1)
    assert (result.folds[0].n_train, result.folds[0].n_val, result.folds[0].n_test) == (6, 2, 2)
    assert result.auc_mean == 1.0
    card = load_model(result.model_path).card
    assert card.encoder == result.encoder.name == "base-tuned"
    assert card.encoder_hash == result.encoder.weights_hash == load_encoder(result.encoder_path).info.weights_hash
    assert (card.tile_px, card.mpp, card.title, card.task) == (32, MPP, "T", "Tells purple.")
    assert card.training["base_encoder"]["name"] == "base"
    assert len(card.training["seen"]["slides"]) == 10, "so that evaluation can tell a leak"
    assert card.training["recipe"]["encoder_lr"] == RECIPE.encoder_lr
    assert torch.equal(tuned.before, tuned.after), "the encoder is given back as it was"
    assert len(card.training["seen"]["scans"]) == 10, "and under another name"
    for table, slides in (("predictions", ["s8", "s9"]), ("validation", ["s6", "s7"])):
        lines = (tuned.out / f"{table}.csv").read_text().splitlines()
        assert lines[0] == "slide,patient,label,fold,p_normal,p_tumour"
        assert [line.split(",")[0] for line in lines[1:]] == slides
    assert (tuned.out / "metrics.csv").read_text().splitlines()[0] == "fold,epoch,train_loss,val_loss,val_auc,lr"
    shares = [step.fraction for step in tuned.progress if step.fraction is not None and step.stage == "Fine-tuning"]
    assert shares == sorted(shares)


def test_a_run_uses_both(tuned: SimpleNamespace, cohort_table: Path, own_folders: Path) -> None:
    folder = cohort_table.parent
    options = {"model": tuned.result.model_path, "encoder": tuned.result.encoder_path, "device": "cpu"}
    found = nm.run(folder / "s9.tif", **options, out=own_folders / "run")
    prediction = found.map.prediction
    normal = nm.run(folder / "s8.tif", **options).map.prediction
    assert prediction.probabilities[1] > normal.probabilities[1]
    with torch.inference_mode():
        direct = load_model(options["model"])(torch.from_numpy(found.features.values)).logits
    np.testing.assert_allclose(prediction.logits, direct.numpy(), rtol=1e-4, atol=1e-5)
    assert found.features.encoder == tuned.result.encoder
    assert (own_folders / "run" / "heatmap.png").is_file()
    # from the models folder nothing need be named, as in the window
    models = own_folders / "models"
    shutil.copytree(tuned.result.encoder_path, models / "base-tuned")
    shutil.copy(f"{tuned.result.encoder_path}.json", models)
    shutil.copy(tuned.result.model_path, models / "purple.safetensors")
    (entry,) = (entry for entry in list_encoders() if entry.name == str(models / "base-tuned"))
    assert entry.usable
    assert check_fit(load_model(models / "purple.safetensors").card, entry.info) is None
    by_name = nm.run(folder / "s9.tif", model="purple", device="cpu")
    np.testing.assert_array_equal(by_name.map.prediction.logits, prediction.logits)
    with pytest.raises(NapariMilError, match=r"trained on features of base-tuned"):
        nm.run(folder / "s9.tif", model="purple", encoder=timm_folder(own_folders / "base"), device="cpu")


def test_command_line(command_line: Callable[..., Any], cohort_table: Path, tmp_path: Path) -> None:
    encoder, out = scripted(tmp_path / "base.pt"), tmp_path / "out"
    arguments = ["fine-tune", cohort_table, "--slides", cohort_table.parent, "--encoder", encoder, "--out", out]
    arguments += ["--epochs", 1, "--patches", 8, "--patches-per-slide", 12, "--device", "cpu", "--pooling", "mean"]
    done = command_line(*arguments)
    assert done.returncode == 0, done.stderr
    assert f"--model {out / 'model.safetensors'} --encoder {out / 'base-tuned.pt'}" in done.stdout
    assert "on 10 slides of 10 patients, 1 fold\n" in done.stdout
    assert "on all slides for 1 epoch. Use them with" in done.stdout
    again = command_line(*arguments, "--resume", "--json")
    assert again.returncode == 1
    assert "holds a model already" in json.loads(again.stdout)["error"]
    judged = command_line("evaluate", out, "--bootstrap", 100, "--json")
    assert judged.returncode == 0, judged.stderr
    (found,) = json.loads(judged.stdout)["models"]
    assert (found["pooling"], found["threshold_from"].split()[0]) == ("mean", "Youden's")


def start(table: Path, out: Path, **options: Any) -> Any:
    pooling = options.pop("pooling", "mean")
    slides = options.pop("slides", table.parent)
    encoder = options.pop("encoder", None) or small_encoder()
    return iter_fine_tune(
        read_cohort(table), slides, encoder, pooling, out, recipe=RECIPE, patches_per_slide=12, device="cpu", **options
    )


@pytest.mark.parametrize(
    ("stage", "left"), [("trying", []), ("patches", []), ("epoch 3", ["resume.pt"]), ("final", ["resume.pt"])]
)
def test_cancelling_leaves_what_can_go_on_and_nothing_else(
    cohort_table: Path, tmp_path: Path, stage: str, left: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pacer, "_interval_s", 0.0)  # on a quick machine an epoch passes between two reports
    encoder = small_encoder()
    before = {name: value.clone() for name, value in encoder.module.state_dict().items()}
    steps = start(cohort_table, tmp_path / "out", encoder=encoder)
    for step in steps:
        if stage in step.message:
            break
    else:
        pytest.fail(f"no step said {stage}")
    steps.close()
    assert [path.name for path in (tmp_path / "out").iterdir()] == left
    assert all(torch.equal(value, before[name]) for name, value in encoder.module.state_dict().items())


def copy_of(table: Path, folder: Path) -> Path:
    return Path(shutil.copytree(table.parent, folder)) / table.name


def test_mistakes_are_said_in_words(cohort_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(error: type[NapariMilError], words: str, table: Path = cohort_table, **options: Any) -> None:
        out = tmp_path / "out"
        with pytest.raises(error, match=words):
            finish(start(table, out, **options))
        assert not out.exists() or list(out.iterdir()) == []

    refused(EncoderError, "no weights to be trained", encoder=load_encoder("colour-texture", tile_px=EDGE))
    refused(CohortError, "no folder of slides", slides=tmp_path / "nowhere")
    refused(NapariMilError, "no model named 'sum'", pooling="sum")
    table = copy_of(cohort_table, tmp_path / "missing")
    (table.parent / "s3.tif").unlink()
    refused(CohortError, "1 of 10 slides is not in .*: s3. Put it there", table)
    table = copy_of(cohort_table, tmp_path / "damaged")
    (table.parent / "s3.tif").write_bytes(b"II*\0 no slide")
    refused(SlideError, r"s3\.tif", table)
    table = copy_of(cohort_table, tmp_path / "twin")
    shutil.copy(table.parent / "s1.tif", table.parent / "s9.tif")
    refused(CohortError, "same slide is listed under several names .*s1 and s9", table)
    table = copy_of(cohort_table, tmp_path / "blank")
    resolution = {"resolution": (5000, 5000), "resolutionunit": "CENTIMETER"}
    blank = np.full((640, 640, 3), 244, np.uint8)
    tifffile.imwrite(table.parent / "s4.tif", blank, tile=(128, 128), photometric="rgb", **resolution)
    refused(TilingError, r"s4\.tif: No tissue", table)
    usage = SimpleNamespace(free=1000)
    monkeypatch.setattr(_deep_patches.shutil, "disk_usage", lambda folder: usage)
    refused(ExportError, "has 0.0 GB free. Choose another folder")


def test_slides_are_found_by_path_file_or_stem(tmp_path: Path) -> None:
    for name in ("a.tif", "b.svs", "c.tif", "c.ndpi", "b.csv"):
        (tmp_path / name).touch()

    def cohort(*slides: str) -> Cohort:
        labels = tuple("xy"[k % 2] for k in range(len(slides)))
        return Cohort(slides, labels, slides, None, ("x", "y"), {})

    found = find_slides(cohort(str(tmp_path / "a.tif"), "b", "c.ndpi"), tmp_path)
    assert [path.name for path in found] == ["a.tif", "b.svs", "c.ndpi"]
    with pytest.raises(CohortError, match=r"c\.ndpi and c\.tif .* could both be slide c"):
        find_slides(cohort("a", "c"), tmp_path)


def test_patches_keep_their_axes() -> None:
    pixels = np.arange(2 * EDGE * EDGE * 3).astype(np.uint8).reshape(2, EDGE, EDGE, 3)
    images = as_images(pixels)
    assert images.shape == (2, 3, EDGE, EDGE)
    assert int(images[1, 2, 5, 7]) == int(pixels[1, 5, 7, 2])


BESIDE_MESA = """
import ctypes, sys
ctypes.CDLL(sys.argv[1])
import torch
from napari_mil.features import Encoder, EncoderInfo
from napari_mil.models import create_model
from napari_mil.training import DeepMIL
module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
encoder = Encoder(module, EncoderInfo("e", "", "0", 4, 16, 1.0), title="", source="", licence="")
model = DeepMIL(encoder, create_model("mean", in_features=4, seed=0), chunk=2)
model.loss(torch.zeros(5, 3, 16, 16, dtype=torch.uint8), 1, lambda z, t: -z[t]).backward()
torch.optim.AdamW(model.parameters()).step()
assert "triton" not in sys.modules
print("alive")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the clash is one of Linux drivers")
def test_triton_stays_out_where_mesa_draws() -> None:
    """A checkpoint and an optimizer would each load it; in a process of its own, since each does so once."""
    found = next(iter(sorted(Path("/usr/lib").glob("*/libLLVM-*.so.1"))), None)
    if found is None:
        pytest.skip("Mesa's LLVM is not on this machine")
    command = [sys.executable, "-c", BESIDE_MESA, str(found)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.stdout.strip() == "alive", (done.returncode, done.stderr)
