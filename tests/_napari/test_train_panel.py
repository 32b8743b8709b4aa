"""The Train panel in the real window: look at the table, train, follow, cancel, close, use the model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from napari.utils.notifications import notification_manager
from qtpy.QtWidgets import QAbstractButton, QLabel
from superqt.utils import WorkerBase

import napari_mil as nm
from napari_mil._napari.launch import add, show_panel
from napari_mil._napari.overlay import overlay_of
from napari_mil._napari.reader import read_slides
from napari_mil._napari.widgets.train_choices import POOLINGS, pooling_choices, recipe_choices
from napari_mil._napari.widgets.train_curves import FINAL
from napari_mil._napari.widgets.train_panel import TrainPanel
from napari_mil._napari.widgets.train_request import EpochsProgress, TrainRequest, train_steps
from napari_mil.models import MODEL_NAMES
from napari_mil.preferences import read_preferences
from napari_mil.progress import finish
from napari_mil.training import RECIPES, load_bags, read_cohort

N_SLIDES = 12
N_FOLDS = 2


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Tiny bags: threads cost more than they give."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def bag_folder(small_cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a table of slides with their features: each a handful of patches of a real one, with or without tumour."""
    folder = tmp_path_factory.mktemp("train")
    (folder / "features").mkdir()
    encoder = nm.load_encoder("colour-texture")
    g = np.random.default_rng(5)
    rows = ["slide,label,patient"]
    whole = {}
    for label, path in zip(("tumour", "normal"), _both(small_cohort), strict=True):
        with nm.open_slide(path) as slide:
            whole[label] = nm.extract(slide, nm.tile(slide, nm.find_tissue(slide), tile_px=64, mpp=1.0), encoder)
    for n in range(N_SLIDES):
        label = ("tumour", "normal")[n % 2]
        features = whole[label]
        kept = np.sort(g.choice(len(features), 6, replace=False))
        grid = replace(
            features.grid, l0_rc=features.grid.l0_rc[kept], tissue_fraction=features.grid.tissue_fraction[kept]
        )
        ref = replace(features.slide, path=f"s{n:02d}.tif", quickhash=f"made-up-{n}")
        bag = replace(features, values=features.values[kept], grid=grid, slide=ref)
        nm.write_features(folder / "features" / f"s{n:02d}.h5", bag)
        rows.append(f"s{n:02d}.tif,{label},P{n if n else 2}")  # one patient has two slides
    (folder / "cohort.csv").write_text("\n".join(rows) + "\n")
    return folder


def _both(table: Path) -> tuple[Path, Path]:
    rows = pd.read_csv(table).set_index("label")["slide"]
    return table.parent / rows["tumour"], table.parent / rows["normal"]


@pytest.fixture
def open_train(make_napari_viewer: Callable, qtbot, own_folders: Path) -> Iterator[Callable]:
    """Return a function that opens a window with the Train panel and nothing else."""

    def opened(slide: Path | None = None) -> tuple:
        viewer = make_napari_viewer(show=True)
        viewer.window.resize(1366, 768)
        if slide is not None:
            for data in read_slides(str(slide)):
                add(viewer, data)
            show_panel(viewer)
        _, panel = viewer.window.add_plugin_dock_widget("napari-mil", "Train a model")
        qtbot.waitUntil(lambda: len(panel.form.more.device.choices) == 4, timeout=60_000)
        panel.form.more.folds.setValue(N_FOLDS)
        looked(qtbot, panel)
        return viewer, panel

    yield opened
    qtbot.waitUntil(lambda: not WorkerBase._worker_set, timeout=20_000)


def looked(qtbot, panel: TrainPanel) -> None:
    qtbot.waitUntil(lambda: not panel.form.looking, timeout=20_000)


def choose(qtbot, panel: TrainPanel, folder: Path, out: Path, epochs: int = 4) -> None:
    panel.form.table.show_path(folder / "cohort.csv")
    panel.form.out.show_path(out)
    panel.form.more.epochs.setValue(epochs)
    panel.form.more.device.choose("cpu")
    looked(qtbot, panel)


def train_to_end(qtbot, panel: TrainPanel) -> None:
    assert panel.train.isEnabled(), panel.status.text()
    panel.train.click()
    assert panel.running
    qtbot.waitUntil(lambda: not panel.running, timeout=60_000)


def test_every_pooling_and_recipe_is_offered_with_a_line_of_its_own() -> None:
    assert set(POOLINGS) == set(MODEL_NAMES)
    assert pooling_choices()[0].value == "gated-attention"
    assert {choice.value for choice in recipe_choices()} == set(RECIPES)
    lines = [choice.help for choice in [*pooling_choices(), *recipe_choices()]]
    assert all(lines)
    assert len(set(lines)) == len(lines)


def test_a_training_shows_the_very_numbers_it_leaves_and_its_model_runs(
    open_train, qtbot, bag_folder: Path, own_folders: Path, small_slide: Path, run_panel
) -> None:
    viewer, panel = open_train(small_slide)
    out = own_folders / "out"
    choose(qtbot, panel, bag_folder, out)
    assert panel.form.table_note.text() == "12 slides, 11 patients, classes: normal (6), tumour (6)"
    assert panel.form.features_note.text() == "All 12 feature files found."
    train_to_end(qtbot, panel)
    metrics = pd.read_csv(out / "metrics.csv")
    shown = panel.curves.history
    assert set(shown) == {1, 2, FINAL}
    for fold in (1, 2):
        rows = metrics[metrics["fold"] == fold]
        for name in ("epoch", "train_loss", "val_loss", "val_auc"):
            np.testing.assert_allclose([getattr(epoch, name) for epoch in shown[fold]], rows[name], rtol=1e-12)
    panel.curves.fold.choose(1)
    first = metrics[metrics["fold"] == 1]
    front = {(curve.kind): curve for curve in panel.curves.loss.curves if curve.strong}
    np.testing.assert_allclose(front["training"].values, first["train_loss"], rtol=1e-12)
    np.testing.assert_allclose(front["validation"].values, first["val_loss"], rtol=1e-12)
    assert front["validation"].kept == panel.result.folds[0].best_epoch
    result = panel.result
    assert f"AUC {result.auc_mean:.2f}" in panel.words.text()
    assert "a slide of tumour" in panel.words.text()
    card = nm.models.read_card(result.model_path)
    assert (card.title, card.task) == ("cohort, gated attention", "Tells normal from tumour")

    panel.use.click()
    copies = list((own_folders / "models").glob("cohort, gated attention*.safetensors"))
    assert [path.read_bytes() for path in copies] == [result.model_path.read_bytes()]
    panel.use.click()
    assert len(list((own_folders / "models").glob("cohort*"))) == 1, "the same model is not copied twice"
    mil = show_panel(viewer)
    assert mil.run_tab.request().model == copies[0]
    run_panel(mil)
    [overlay] = [overlay_of(layer) for layer in viewer.layers if overlay_of(layer) is not None]
    assert overlay.map.model.title == "cohort, gated attention"


def test_the_panel_trains_as_the_library_does(
    open_train, qtbot, bag_folder: Path, own_folders: Path, tmp_path: Path
) -> None:
    _, panel = open_train()
    choose(qtbot, panel, bag_folder, own_folders / "out", epochs=3)
    panel.form.pooling.choose("mean")
    train_to_end(qtbot, panel)
    cohort = read_cohort(bag_folder / "cohort.csv")
    finish(
        nm.training.iter_train(
            cohort, load_bags(cohort, bag_folder / "features"), "mean", tmp_path / "headless",
            recipe=replace(RECIPES["default"], epochs=3), folds=N_FOLDS, device="cpu",
            title="cohort, mean", task="Tells normal from tumour",
        )
    )  # fmt: skip
    for name in ("metrics.csv", "predictions.csv"):
        # in a thread of its own torch may share sums out otherwise, which moves their last digits
        pd.testing.assert_frame_equal(
            pd.read_csv(own_folders / "out" / name), pd.read_csv(tmp_path / "headless" / name), rtol=1e-5
        )


def test_cancel_leaves_no_model_and_train_goes_on_from_there(
    open_train, qtbot, bag_folder: Path, own_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = hold_epochs(monkeypatch)
    _, panel = open_train()
    out = own_folders / "out"
    choose(qtbot, panel, bag_folder, out, epochs=4)
    panel.train.click()
    let_pass(qtbot, gate, lambda: 2 in panel.curves.history)  # into the second fold
    assert "at most" in panel.status.text() or "Fold 2 of 2" in panel.status.text()
    assert not panel.form.isEnabled()
    panel.cancel_button.click()
    let_pass(qtbot, gate, lambda: not panel.running)
    assert "Cancelled" in panel.status.text()
    assert panel.use.isHidden()
    assert panel.result is None
    assert not (out / "model.safetensors").exists()
    assert (out / "fold_1.safetensors").exists()
    before = [epoch.train_loss for epoch in panel.curves.history[1]]
    assert not panel.form.go_on.isHidden()
    gate.allow(1000)
    train_to_end(qtbot, panel)
    assert [epoch.train_loss for epoch in panel.curves.history[1]] == before
    assert (out / "model.safetensors").exists()
    assert panel.form.go_on.isHidden()


def test_a_stopped_training_can_be_begun_anew(open_train, qtbot, bag_folder: Path, own_folders: Path) -> None:
    out = own_folders / "out"
    request = TrainRequest(
        bag_folder / "cohort.csv", bag_folder / "features", out, "mean", "default", N_FOLDS, 5, 1, "cpu", "", ""
    )  # fmt: skip
    steps = train_steps(request)
    while not isinstance(next(steps), EpochsProgress):
        pass
    steps.close()
    _, panel = open_train()
    choose(qtbot, panel, bag_folder, out, epochs=2)
    train_to_end(qtbot, panel)
    assert "was begun with another" in panel.status.text()
    panel.form.go_on.setChecked(False)
    train_to_end(qtbot, panel)
    assert panel.result is not None


def test_closing_the_window_mid_training_ends_it_quietly(
    open_train, qtbot, bag_folder: Path, own_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = hold_epochs(monkeypatch)
    viewer, panel = open_train()
    out = own_folders / "out"
    choose(qtbot, panel, bag_folder, out)
    panel.train.click()
    let_pass(qtbot, gate, lambda: 1 in panel.curves.history)
    told: list[object] = []
    notification_manager.notification_ready.connect(told.append)
    viewer.close()
    let_pass(qtbot, gate, lambda: not WorkerBase._worker_set)
    notification_manager.notification_ready.disconnect(told.append)
    assert not told
    assert not (out / "model.safetensors").exists()
    assert not (out / "training.lock").exists()


def test_a_wrong_table_is_said_at_once_and_cannot_be_trained(
    open_train, qtbot, bag_folder: Path, tmp_path: Path
) -> None:
    _, panel = open_train()
    assert "columns slide and label" in panel.form.table_note.text()
    assert panel.status.text() == "Choose the table of your slides."
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("file,class\na.tif,normal\n")
    panel.form.table.show_path(wrong)
    looked(qtbot, panel)
    assert "wrong.csv has no column 'slide' (found: file, class)" in panel.form.table_note.text()
    assert not panel.train.isEnabled()
    panel.form.table.show_path(bag_folder / "cohort.csv")
    looked(qtbot, panel)
    assert panel.form.features.path == bag_folder / "features", "the folder beside the table is proposed"
    assert panel.form.out.path == bag_folder / "cohort gated-attention"
    assert panel.train.isEnabled()


def test_missing_features_and_too_many_folds_are_named_before_the_run(
    open_train, qtbot, bag_folder: Path, tmp_path: Path
) -> None:
    _, panel = open_train()
    panel.form.table.show_path(bag_folder / "cohort.csv")
    (tmp_path / "some").mkdir()
    for n in range(N_SLIDES - 2):
        (tmp_path / "some" / f"s{n:02d}.h5").touch()
    panel.form.features.show_path(tmp_path / "some")
    looked(qtbot, panel)
    assert "2 of 12 slides have no features" in panel.form.features_note.text()
    assert "s10.tif, s11.tif" in panel.form.features_note.text()
    assert not panel.train.isEnabled()
    panel.form.features.show_path(bag_folder / "features")
    panel.form.more.folds.setValue(20)
    looked(qtbot, panel)
    assert "too few for 20 folds" in panel.status.text()
    assert not panel.train.isEnabled()


def test_a_finished_folder_is_not_mixed_with_another_training_and_choices_are_remembered(
    open_train, qtbot, bag_folder: Path, own_folders: Path
) -> None:
    viewer, panel = open_train()
    out = own_folders / "out"
    choose(qtbot, panel, bag_folder, out, epochs=2)
    panel.form.pooling.choose("max")
    panel.form.recipe.choose("halving")
    panel.form.more.epochs.setValue(2)
    train_to_end(qtbot, panel)
    assert panel.form.out.path == own_folders / "out 2"
    panel.form.out.show_path(out)
    assert "holds a finished training" in panel.status.text()
    assert not panel.train.isEnabled()
    kept = read_preferences().training
    assert (kept["pooling"], kept["recipe"], kept["epochs"], kept["device"]) == ("max", "halving", 2, "cpu")
    another = TrainPanel(viewer)
    qtbot.addWidget(another)
    assert another.form.table.path == bag_folder / "cohort.csv"
    assert another.form.pooling.current.value == "max"
    assert another.form.recipe.current.value == "halving"
    assert another.form.more.epochs.value() == 2
    looked(qtbot, another)
    qtbot.waitUntil(lambda: len(another.form.more.device.choices) == 4, timeout=60_000)
    assert another.form.more.device.current.value == "cpu"


def test_an_error_of_the_training_is_one_line_in_the_panel(
    open_train, qtbot, bag_folder: Path, own_folders: Path
) -> None:
    _, panel = open_train()
    out = own_folders / "out"
    choose(qtbot, panel, bag_folder, out)
    out.write_text("a file where the folder should be")
    told: list[str] = []
    notification_manager.notification_ready.connect(lambda note: told.append(note.message))
    train_to_end(qtbot, panel)
    assert "Cannot make the folder" in panel.status.text()
    assert told == [panel.status.text()]
    assert panel.use.isHidden()


def test_everything_fits_the_window_and_can_be_reached_with_the_keyboard(
    open_train, qtbot, bag_folder: Path, own_folders: Path, small_slide: Path
) -> None:
    viewer, panel = open_train(small_slide)
    choose(qtbot, panel, bag_folder, own_folders / "out", epochs=2)
    panel.form.more.shown.setChecked(True)
    qtbot.wait(100)
    assert viewer.window._qt_window.height() == 768
    view = panel.tabs.widget(0)
    assert view.verticalScrollBar().maximum() == view.horizontalScrollBar().maximum() == 0
    assert panel.form.minimumSizeHint().width() < 300, "also in a dock as narrow as can be"
    menus = {action.text().split("&")[1][0].lower() for action in viewer.window._qt_window.menuBar().actions()}
    buttons = keys_of(panel.train, panel.cancel_button)
    for page, least in ((panel.form, 13), (panel.tabs.widget(1), 3)):
        keys = keys_of(*page.findChildren(QLabel), *page.findChildren(QAbstractButton)) + buttons
        assert len(keys) >= least + 2
        assert len({*keys, *menus}) == len(keys) + len(menus), f"each key for one thing: {sorted(keys)}"


def keys_of(*widgets: QLabel | QAbstractButton) -> list[str]:
    return [one.text().split("&")[1][0].lower() for one in widgets if "&" in one.text()]


class Gate:
    """Lets so many epochs pass."""

    def __init__(self) -> None:
        self._passes = threading.Semaphore(0)

    def allow(self, epochs: int) -> None:
        for _ in range(epochs):
            self._passes.release()

    def wait(self) -> None:
        assert self._passes.acquire(timeout=60)


def let_pass(qtbot, gate: Gate, until: Callable[[], bool]) -> None:
    """Let single epochs pass until something has come true.

    They are passed on ten times a second at most, and only then a training can stop.
    """
    for _ in range(100):
        if until():
            return
        gate.allow(1)
        qtbot.wait(150)
    raise AssertionError("it did not come true in a hundred epochs")


def hold_epochs(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Make each epoch of a training wait until the test lets it pass."""
    import napari_mil.training._fit as engine

    gate, whole = Gate(), engine._Fitting._validate

    def gated(*args, **options):
        gate.wait()
        return whole(*args, **options)

    monkeypatch.setattr(engine._Fitting, "_validate", gated)
    return gate
