"""A fine-tuning that was killed, at whatever moment, goes on and ends with the very files it would have had."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch

from napari_mil.errors import ExportError, ModelError
from napari_mil.evaluation import iter_evaluate, read_run
from napari_mil.features import load_encoder
from napari_mil.models import load_model
from napari_mil.progress import Pacer, finish
from napari_mil.training import FineTuning, iter_fine_tune, read_cohort, youden_threshold
from napari_mil.training import _deep_report as deep_report
from napari_mil.training import _deep_train as deep_train
from napari_mil.training import _resume as resume
from napari_mil.training._folder import RESUME_FILE as FILE
from napari_mil.training._folder import run_folder

RECIPE = FineTuning(epochs=3, encoder_lr=1e-3, lr=1e-2, bags_per_step=2, patches=6, chunk=4, patience=3)
CONFIG = {"hidden": 8, "attention_dim": 4, "dropout": 0.25}
FILES = ("base-tuned.pt", "base-tuned.pt.json", "model.safetensors", "metrics.csv", "predictions.csv", "validation.csv",
         "roc.png", "summary.json")  # fmt: skip
MOMENTS = {  # what the last Progress said, or what was being written
    "reading": "s3.tif",
    "first fold": "fold 1 of 2, epoch 2",
    "predicting": "fold 1 of 2, predicting",
    "second fold": "fold 2 of 2, epoch 3",
    "final": "final pair, all slides, epoch 2",
    "half a state": None,
    "encoder in place": None,
    "tables in place": None,
    "all in place": None,
}
FORKS = """
import os, sys, torch
torch.set_num_threads(1)
sys.path.insert(0, {here!r})
from test_deep_resume import MOMENTS, finish, run_until, steps
from pathlib import Path
finish(steps(Path({slides!r}), Path({out!r}) / "not killed"))  # which loads all that the forks would load each
for moment in MOMENTS:
    if os.fork() == 0:
        run_until(moment, Path({slides!r}), Path({out!r}) / moment)
        os._exit(0)
    status = os.wait()[1]
    print(moment, os.WTERMSIG(status) if os.WIFSIGNALED(status) else "ended by itself")
"""


class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(3, 6, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(6)
        self.drop = torch.nn.Dropout(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.drop(torch.relu(self.norm(self.first(x)))).mean((2, 3))


def write_cohort(folder: Path) -> None:
    """Write eight slides of 384 x 384 px at 2 um/px, their table, and an encoder."""
    rng = np.random.default_rng(0)
    lines = ["slide,label,patient"]
    for k in range(8):
        image = np.full((384, 384, 3), 244, np.uint8)
        tissue = np.array([215, 140, 185]) + rng.integers(-18, 19, (288, 288, 3))
        if k % 2:
            tissue[:144] += np.array([-80, -70, -25])
        image[48:336, 48:336] = np.clip(tissue, 0, 255)
        write_slide(folder / f"s{k}.tif", image)
        lines.append(f"s{k},{('normal', 'tumour')[k % 2]},P{k}")
    (folder / "cohort.csv").write_text("\n".join(lines) + "\n")
    write_encoder(folder / "base.pt", seed=0)
    (folder / "base.pt.json").write_text(json.dumps({"name": "base", "tile_px": 16, "mpp": 4.0}))


def write_slide(path: Path, image: np.ndarray) -> None:
    resolution = {"resolution": (5000, 5000), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, image, tile=(128, 128), photometric="rgb", **resolution)


def write_encoder(path: Path, seed: int) -> None:
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Small().eval()).save(path)


def steps(slides: Path, out: Path, **changes: Any) -> Any:
    given = {"recipe": RECIPE, "folds": 2, "config": CONFIG, "patches_per_slide": 9, "device": "cpu", "title": "T"}
    table = read_cohort(slides / "cohort.csv")
    return iter_fine_tune(table, slides, load_encoder(slides / "base.pt"), "gated-attention", out, **given | changes)


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def run_until(moment: str, slides: Path, out: Path) -> None:
    """Run in this process until a moment, and have the process killed."""
    Pacer._interval_s = 0.0  # every sign of life is told
    if moment == "half a state":
        whole, written = resume.torch.save, []

        def half(content: Any, file: Any) -> None:
            written.append(1)
            if len(written) < 3:
                whole(content, file)
            else:
                file.write(b"PK\x03\x04 half")
                file.flush()
                die()

        resume.torch.save = half
    elif moment == "encoder in place":
        deep_report.write_tables = die
    elif moment == "tables in place":
        deep_report.save_model = die
    elif moment == "all in place":
        resume.Resume.remove = die
    for step in steps(slides, out):
        if MOMENTS[moment] and MOMENTS[moment] in step.message:
            die()


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    write_cohort(folder)
    return folder


@pytest.fixture(scope="module")
def whole(slides: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    finish(steps(slides, out))
    assert {path.name for path in out.iterdir()} == set(FILES)
    return out


@pytest.fixture(scope="module")
def killed(slides: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of runs that were killed, each at its moment: processes of one that has loaded what they need."""
    if not hasattr(signal, "SIGKILL"):
        pytest.skip("no such signal here")
    out = tmp_path_factory.mktemp("killed")
    code = FORKS.format(here=str(Path(__file__).parent), slides=str(slides), out=str(out))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == [f"{moment} {int(signal.SIGKILL)}" for moment in MOMENTS], done.stderr[-2000:]
    return out


def same(one: Path, other: Path) -> None:
    assert {path.name for path in one.iterdir()} == set(FILES), "nothing half-written is left"
    for name in FILES:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_another_process_leaves_the_same_files(whole: Path, killed: Path) -> None:
    same(killed / "not killed", whole)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_fine_tuning_ends_as_if_it_had_not_been(slides: Path, whole: Path, killed: Path, moment: str) -> None:
    out = killed / moment
    left = {path.name for path in out.iterdir()}
    assert (FILE in left) == (moment != "reading")
    assert ("model.safetensors" in left) == (moment == "all in place")
    assert ("base-tuned.pt" in left) == moment.endswith("in place")
    assert any(name.startswith(".partial") for name in left) == (moment == "half a state")
    done = [step.done for step in steps_told(slides, out)]
    assert done == sorted(done)
    same(out, whole)


def steps_told(slides: Path, out: Path) -> list[Any]:
    return [step for step in steps(slides, out, resume=True) if step.stage == "Fine-tuning" and step.total]


@pytest.mark.parametrize("stop_at", ["fold 1 of 2, epoch 3", "final pair, all slides, epoch 1"])
def test_a_closed_fine_tuning_goes_on_from_its_last_state(
    slides: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: str
) -> None:
    monkeypatch.setattr(Pacer, "_interval_s", 0.0)
    monkeypatch.setattr("napari_mil.training._resume._SHARE", 1e9)  # each epoch is kept
    learned: list[int] = []
    original = torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self: (learned.append(1), original(self)))
    finish(steps(slides, tmp_path / "again"))
    at_once = len(learned)
    learned.clear()
    running = steps(slides, tmp_path / "out")
    for step in running:
        if stop_at in step.message:
            break
    running.close()
    before = len(learned)
    finish(steps(slides, tmp_path / "out", resume=True))
    same(tmp_path / "out", whole)
    assert before > 0
    assert len(learned) == at_once  # no step was taken twice


def another_patient(folder: Path) -> None:
    table = folder / "cohort.csv"
    table.write_text(table.read_text().replace("s0,normal,P0", "s0,normal,P9"))


def another_slide(folder: Path) -> None:
    image = tifffile.imread(folder / "s0.tif")
    image[100:120] = 90
    write_slide(folder / "s0.tif", image)


def another_encoder(folder: Path) -> None:
    write_encoder(folder / "base.pt", seed=1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (another_patient, "another cohort"),
        (another_slide, "another set of slides"),
        (another_encoder, "another encoder"),
    ],
)
def test_other_files_of_the_same_names_are_not_gone_on_with(
    slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None], words: str
) -> None:
    monkeypatch.setattr(Pacer, "_interval_s", 0.0)
    folder = Path(shutil.copytree(slides, tmp_path / "slides"))
    for step in (running := steps(folder, tmp_path / "out")):
        if "epoch 2" in step.message:
            break
    with pytest.raises(ExportError, match="Another training writes into"):
        finish(steps(folder, tmp_path / "out", resume=True))
    running.close()
    change(folder)
    with pytest.raises(ModelError, match=rf"begun with {words}\. Give what"):
        finish(steps(folder, tmp_path / "out", resume=True))


def test_another_fine_tuning_is_not_gone_on_with(slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pacer, "_interval_s", 0.0)
    for step in (running := steps(slides, tmp_path)):
        if "epoch 2" in step.message:
            break
    running.close()
    assert (tmp_path / FILE).exists()
    for changes, words in (
        ({"recipe": replace(RECIPE, lr=1e-3)}, r"begun with another recipe\. Give what"),
        ({"config": {"hidden": 4}, "folds": 3}, "another pooling and number of folds"),
        ({"name": "other"}, "another name"),
    ):
        with pytest.raises(ModelError, match=words):
            finish(steps(slides, tmp_path, **changes, resume=True))
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:500])
    with pytest.raises(ModelError, match="cannot be read, so the training cannot go on"):
        finish(steps(slides, tmp_path, resume=True))


def test_a_finished_run_and_another_encoder_are_not_written_over(slides: Path, whole: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in whole.iterdir()}
    for resumed in (False, True):
        with pytest.raises(ExportError, match="holds a model already"):
            finish(steps(slides, whole, resume=resumed))
    assert {path.name: path.read_bytes() for path in whole.iterdir()} == before
    (tmp_path / "base-tuned.pt").write_bytes(b"of someone else")
    with pytest.raises(ExportError, match=r"base-tuned\.pt is there already"):
        finish(steps(slides, tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["base-tuned.pt"]


def test_a_run_that_ends_while_another_waits_for_the_folder_keeps_its_model(
    slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def after_another(out: Path, name: str) -> Iterator[None]:
        with run_folder(out, name):
            (out / "model.safetensors").write_bytes(b"of the other")
            yield

    monkeypatch.setattr(deep_train, "run_folder", after_another)
    with pytest.raises(ExportError, match="holds a model already"):
        finish(steps(slides, tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize("name", ["resume", "Resume", "summary"])
def test_an_encoder_is_not_called_like_another_file_of_the_run(slides: Path, tmp_path: Path, name: str) -> None:
    """The state that is kept, `resume.pt`, is removed at the end: an encoder of that name went with it."""
    with pytest.raises(ExportError, match=f"cannot be called {name}"):
        finish(steps(slides, tmp_path / "out", name=name))
    assert not (tmp_path / "out").exists()


def test_threshold_and_validation_are_kept_and_judged_by(whole: Path) -> None:
    table = pd.read_csv(whole / "validation.csv")
    assert list(table.columns) == list(pd.read_csv(whole / "predictions.csv").columns)
    assert list(table.columns) == ["slide", "patient", "label", "fold", "p_normal", "p_tumour"]
    cuts = {
        fold: youden_threshold((part["label"] == "tumour").to_numpy(), part["p_tumour"].to_numpy())
        for fold, part in table.groupby("fold")
    }
    training = load_model(whole / "model.safetensors").card.training
    assert training["threshold"] == pytest.approx(np.median(list(cuts.values())))
    candidate = read_run(whole)
    assert candidate.notes == ()
    assert candidate.thresholds == pytest.approx(cuts)
    assert "validation slides of each fold" in candidate.threshold_from
    judged = finish(iter_evaluate([candidate], replicates=100, seed=0)).judged[0]
    assert judged.measures is not None
    assert json.loads((whole / "summary.json").read_text())["threshold"] == training["threshold"]
