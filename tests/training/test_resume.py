"""A training that was killed goes on, and ends with the very files it would have had."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from napari_mil.errors import ModelError
from napari_mil.progress import finish
from napari_mil.training import Recipe, iter_train
from napari_mil.training._folder import RESUME_FILE as FILE
from napari_mil.training._resume import Resume

RECIPE = Recipe(
    epochs=6, lr=1e-2, optimiser="lookahead-radam", sampling="balanced", hard_share=0.3, max_patches=6, bags_per_step=2,
    warmup_epochs=1, clip_norm=2.0, entropy_weight=0.01,
)  # fmt: skip
CONFIG = {"hidden": 8, "attention_dim": 4, "dropout": 0.25}
FILES = ("model.safetensors", "fold_1.safetensors", "fold_2.safetensors", "metrics.csv", "predictions.csv",
         "validation.csv", "summary.json")  # fmt: skip
CHILD = """
import os, signal, sys, torch
torch.set_num_threads(1)
sys.path.insert(0, {here!r})
from conftest import make_separable
from test_resume import steps
for count, step in enumerate(steps(*make_separable(16), {out!r}), start=1):
    if count == {kill_at}:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def steps(cohort, bags, out, **changes):
    given = {"recipe": RECIPE, "folds": 2, "config": CONFIG, "device": "cpu"} | changes
    return iter_train(cohort, bags, "gated-attention", out, **given)


@pytest.fixture(scope="module")
def whole(separable, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    finish(steps(*separable(16), out))
    assert not (out / FILE).exists()
    return out


def same(one: Path, other: Path) -> None:
    for name in FILES:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal here")
def test_a_killed_training_ends_as_if_it_had_not_been(separable, whole, tmp_path):
    out = tmp_path / "run"
    code = CHILD.format(here=str(Path(__file__).parent), out=str(out), kill_at=10)  # within the second fold
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert not (out / "model.safetensors").exists()
    kept = torch.load(out / FILE, weights_only=True)
    assert len(kept["folds"]) == 1
    progress = list(steps(*separable(16), out, resume=True))
    same(out, whole)
    assert not (out / FILE).exists()
    assert not list(out.glob(".partial-*"))
    boundaries = [(step.fold, step.epoch.epoch) for step in progress]
    assert boundaries[0] == (1, 1)  # curves are whole: finished epochs are told again
    assert len(boundaries) == len(set(boundaries))


@pytest.mark.parametrize("stop_at", [1, 8, 15])
def test_a_closed_training_goes_on_from_its_last_state(separable, whole, tmp_path, monkeypatch, stop_at):
    monkeypatch.setattr("napari_mil.training._resume._SHARE", 1e9)  # each epoch is kept
    learned = []
    original = torch.optim.RAdam.step
    monkeypatch.setattr(torch.optim.RAdam, "step", lambda self: (learned.append(1), original(self)))
    finish(steps(*separable(16), tmp_path / "again"))
    at_once = len(learned)
    learned.clear()
    running = steps(*separable(16), tmp_path)
    for _ in range(stop_at):
        next(running)
    running.close()
    finish(steps(*separable(16), tmp_path, resume=True))
    same(tmp_path, whole)
    assert len(learned) == at_once  # no step was taken twice


def test_without_resuming_all_begins_anew(separable, whole, tmp_path):
    running = steps(*separable(16), tmp_path, recipe=replace(RECIPE, seed=5))
    next(running)
    running.close()
    assert (tmp_path / FILE).exists()
    finish(steps(*separable(16), tmp_path))
    same(tmp_path, whole)


def test_another_training_is_not_gone_on_with(separable, tmp_path):
    running = steps(*separable(16), tmp_path)
    next(running)
    running.close()
    with pytest.raises(ModelError, match=r"begun with another recipe\. Give what"):
        next(steps(*separable(16), tmp_path, recipe=replace(RECIPE, lr=1e-3), resume=True))
    with pytest.raises(ModelError, match="another pooling and number of folds"):
        next(steps(*separable(16), tmp_path, config={"hidden": 4}, folds=3, resume=True))
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:500])
    with pytest.raises(ModelError, match="cannot be read, so the training cannot go on"):
        next(steps(*separable(16), tmp_path, resume=True))


def test_nothing_that_runs_code_is_loaded(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"key": {"a": "b"}, "folds": Evil(), "state": None}, tmp_path / FILE)
    with pytest.raises(ModelError, match="cannot be read"):
        Resume(tmp_path, {"a": 1}, go_on=True)
    assert not (tmp_path / "ran").exists()


def test_keeping_states_takes_a_small_share_of_the_time(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("napari_mil.training._resume.time.monotonic", lambda: now[0])
    resume = Resume(tmp_path, {}, go_on=False)
    made = []

    def make():
        now[0] += 1.0  # a state takes a second to write
        made.append(now[0])
        return {}

    for _ in range(100):
        now[0] += 1.0
        resume.save(make)
    assert 0.03 < len(made) / (now[0] - 100) < 0.06
