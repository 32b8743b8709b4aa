"""The Train panel: what to train, the background job behind it, its live curves, and the way to use the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import create_worker

from ...errors import NapariMilError
from ...features import models_folder
from ...preferences import keep_training
from ...progress import Progress
from ..worker import Job, JobSlot
from .choices import find_devices
from .dock_panel import DockPanel, notify
from .train_curves import TrainCurves
from .train_folder import keep_model, stopped_training
from .train_form import TrainForm
from .train_request import EpochsProgress, TrainRequest, train_steps
from .train_words import result_words, training_line

if TYPE_CHECKING:
    import napari

    from ...training import TrainingResult


class TrainPanel(DockPanel):
    """Train a model on features of a cohort, with or without a slide open.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer; napari passes it in by this name.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer: napari.Viewer | None = napari_viewer
        self._jobs = JobSlot()
        self._request: TrainRequest | None = None
        self._result: TrainingResult | None = None
        self._build()
        self._connect()
        self._refresh()
        # PyTorch takes seconds to load: look for GPUs in the background, so that the panel opens at once.
        self._looking = create_worker(find_devices, _start_thread=True, _connect={"returned": self.form.set_devices})
        # Qt may delete the panel without closing it; its job must not outlive it.
        self.destroyed.connect(self._jobs.abandon)

    @property
    def running(self) -> bool:
        """Whether a training is going."""
        return self._jobs.job is not None

    @property
    def result(self) -> TrainingResult | None:
        """What the last training came to; None while one is going, or where it did not end."""
        return self._result

    def start(self, request: TrainRequest) -> None:
        """Train in the background.

        Parameters
        ----------
        request : TrainRequest
            What was chosen.
        """
        if self.running:
            return
        self._request, self._result = request, None
        self.curves.clear()
        self.words.setText("")
        self.tabs.setCurrentWidget(self._curves_page)
        self.bar.setRange(0, 0)
        self.bar.setVisible(True)
        self.say("Starting")
        self._jobs.job = Job(
            train_steps(request),
            f"Training {request.title}",
            on_progress=self._progress,
            on_done=self._done,
            on_failed=self._failed,
            on_cancelled=self._cancelled,
        )
        self._refresh()
        try:
            keep_training(self.form.choices())
        except NapariMilError as error:
            self.say(str(error), error=True)

    def cancel(self) -> None:
        """Ask the training to stop; it answers at the end of the epoch."""
        if self._jobs.job is not None:
            self.say("Stopping at the end of this epoch")
            self.cancel_button.setEnabled(False)
            self._jobs.job.cancel()

    def use_model(self) -> None:
        """Copy the model into the models folder and choose it in the MIL panel."""
        if self._result is None or self._request is None or self._viewer is None:
            return
        try:
            path = keep_model(self._result, self._request.title, models_folder())
        except NapariMilError as error:
            self.say(notify(error), error=True)
            return
        from ..launch import show_panel

        panel = show_panel(self._viewer)
        panel.run_tab.add_model(path)
        panel.tabs.setCurrentWidget(panel.run_tab)
        panel.come_forward()
        self.say(f"In the models folder as {path.name}, and chosen in the MIL panel.")

    def open_folder(self) -> None:
        """Show the folder of the results in the computer's file manager."""
        if self._request is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._request.out)))

    def say(self, line: str, *, error: bool = False) -> None:
        """Write one line below the buttons."""
        self.status.setText(line)
        self.status.setStyleSheet("color: #d9534f; font-size: 11px;" if error else "font-size: 11px;")

    def release(self) -> None:
        """Stop everything and let go of the viewer; the window is closing."""
        self._jobs.abandon()
        self.form.release()
        self._viewer = None

    def _build(self) -> None:
        self.form, self.curves = TrainForm(self), TrainCurves(self)
        self.words = QLabel(self)
        self.words.setWordWrap(True)
        self.use, self.folder = QPushButton("Use this &model", self), QPushButton("Open f&older", self)
        self.use.setToolTip("Copies the model into your models folder and chooses it in the MIL panel")
        self.folder.setToolTip("Figures, tables and the models of all folds")
        after = QHBoxLayout()
        after.addWidget(self.use, 1)
        after.addWidget(self.folder, 1)
        self._curves_page = QWidget(self)
        page = QVBoxLayout(self._curves_page)
        page.setContentsMargins(6, 9, 6, 9)
        page.addWidget(self.curves, 1)
        page.addWidget(self.words)
        page.addLayout(after)
        scroll = QScrollArea(self)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QScrollArea.Shape.NoFrame)
        scroll.setWidget(self.form)
        self.tabs = QTabWidget(self)
        self.tabs.addTab(scroll, "Set up")
        self.tabs.addTab(self._curves_page, "Curves")
        self.train, self.cancel_button = QPushButton("&Train", self), QPushButton("&Cancel", self)
        self.train.setDefault(True)
        buttons = QHBoxLayout()
        buttons.addWidget(self.train, 2)
        buttons.addWidget(self.cancel_button, 1)
        self.bar = QProgressBar(self)
        self.bar.setVisible(False)
        self.status = QLabel(self)
        self.status.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.addWidget(self.tabs, 1)
        layout.addLayout(buttons)
        layout.addWidget(self.bar)
        layout.addWidget(self.status)
        self.setMinimumWidth(320)

    def _connect(self) -> None:
        self.form.changed.connect(self._form_changed)
        self.train.clicked.connect(self._train)
        self.cancel_button.clicked.connect(self.cancel)
        self.use.clicked.connect(self.use_model)
        self.folder.clicked.connect(self.open_folder)

    def _train(self) -> None:
        request = self.form.request()
        if request is not None:
            self.start(request)

    def _form_changed(self) -> None:
        self._refresh()
        if not self.running:
            self.say(self.form.missing())

    def _progress(self, step: Progress) -> None:
        self.bar.setRange(0, step.total)
        self.bar.setValue(step.done)
        if isinstance(step, EpochsProgress):
            self.curves.add(step.epochs)
        if self.cancel_button.isEnabled():
            self.say(training_line(step))

    def _done(self, result: TrainingResult) -> None:
        self._jobs.job, self._result = None, result
        self.curves.show_kept({fold.fold: fold.best_epoch for fold in result.folds})
        self.words.setText(result_words(result))
        self.form.propose_next()
        self._ended(f"Finished. Everything is in {result.out}")

    def _failed(self, error: Exception) -> None:
        self._ended(notify(error), error=True)

    def _cancelled(self) -> None:
        kept = self._request is not None and stopped_training(self._request.out)
        self._ended(
            "Cancelled: there is no model to use yet. What was done is kept: Train goes on from there."
            if kept
            else "Cancelled before the first epoch ended: nothing was kept."
        )

    def _ended(self, line: str, *, error: bool = False) -> None:
        self._jobs.job = None
        self.bar.setVisible(False)
        self.form.refresh_folder()
        # after the refresh, which may have a line of its own for the next training
        self.say(line, error=error)

    def _refresh(self) -> None:
        missing = self.form.missing()
        self.train.setEnabled(not missing and not self.running)
        self.train.setToolTip(missing)
        self.cancel_button.setEnabled(self.running)
        self.form.setEnabled(not self.running)
        for button in (self.use, self.folder):
            button.setVisible(self._result is not None)
