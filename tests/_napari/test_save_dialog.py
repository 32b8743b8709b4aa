"""Where a file is written: the ending is that of the kind chosen, whatever name was there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication, QComboBox, QDialogButtonBox, QFileDialog, QLineEdit, QMessageBox, QWidget

from napari_mil._napari.widgets.export_menu import _ENTRIES, ExportMenu
from napari_mil._napari.widgets.save_dialog import (
    GEOJSON,
    GEOJSON_GZ,
    JPEG,
    OME_TIFF,
    PDF,
    PNG,
    SVG,
    TIFF,
    FileKind,
    ask_where,
    named,
)

ONE_FILE = {wanted: kinds for wanted, (_, _, _, kinds) in _ENTRIES.items() if kinds}


@pytest.fixture(autouse=True)
def _qts_own_dialogs() -> Iterator[None]:
    own = Qt.ApplicationAttribute.AA_DontUseNativeDialogs
    before = QApplication.testAttribute(own)
    QApplication.setAttribute(own, True)
    yield
    QApplication.setAttribute(own, before)


@pytest.fixture
def parent(qtbot: Any) -> QWidget:
    widget = QWidget()
    qtbot.addWidget(widget)
    return widget


@pytest.mark.parametrize(
    ("typed", "kind", "name"),
    [
        ("map.png", SVG, "map.svg"),
        ("map", SVG, "map.svg"),
        ("case 17.4 map", PNG, "case 17.4 map.png"),
        ("case.2 map.PNG", PDF, "case.2 map.pdf"),
        ("map.PDF", PDF, "map.PDF"),
        ("a.jpeg", JPEG, "a.jpeg"),
        ("a.geojson", GEOJSON_GZ, "a.geojson.gz"),
        ("a.geojson.gz", GEOJSON, "a.geojson"),
        ("a.geojson.gz", GEOJSON_GZ, "a.geojson.gz"),
        ("s.tif", OME_TIFF, "s.ome.tif"),
        ("s.ome.tiff", OME_TIFF, "s.ome.tiff"),
        ("s.ome.tif", TIFF, "s.tif"),
        ("a.gz", GEOJSON_GZ, "a.geojson.gz"),
        (".png", SVG, ".png.svg"),
        ("work.png", FileKind("Work", (".napari-mil",)), "work.napari-mil"),
    ],
)
def test_a_name_gets_the_ending_of_its_kind_once(typed: str, kind: FileKind, name: str) -> None:
    assert named(Path("there", typed), kind) == Path("there", name)


def in_dialog(act: Callable[[QFileDialog], None]) -> None:
    """Do something in the dialog that opens next, then press Save."""

    def when_open() -> None:
        dialog = QApplication.activeModalWidget()
        if not isinstance(dialog, QFileDialog):
            QTimer.singleShot(20, when_open)
            return
        act(dialog)
        dialog.findChild(QDialogButtonBox).button(QDialogButtonBox.StandardButton.Save).click()

    QTimer.singleShot(0, when_open)


def name_field(dialog: QFileDialog) -> QLineEdit:
    return dialog.findChild(QLineEdit, "fileNameEdit")


def pick(dialog: QFileDialog, kind: FileKind) -> None:
    """Choose a kind of file as a person does."""
    box = dialog.findChild(QComboBox, "fileTypeCombo")
    box.setCurrentText(kind.filter)
    box.activated.emit(box.currentIndex())


@pytest.mark.parametrize("wanted", ONE_FILE)
def test_every_kind_of_every_export_is_written_under_its_ending(wanted: Any, parent: QWidget, tmp_path: Path) -> None:
    kinds = ONE_FILE[wanted]
    menu = ExportMenu(parent)
    for kind in kinds:
        for typed in ("", "other", "case 1.5", "other.png", "other.geojson", "other.geojson.gz"):

            def act(dialog: QFileDialog, kind: FileKind = kind, typed: str = typed) -> None:
                dialog.setDirectory(str(tmp_path))
                if typed:
                    name_field(dialog).setText(typed)
                pick(dialog, kind)
                if typed:
                    name_field(dialog).setText(typed)  # and once more by who insists

            in_dialog(act)
            path = menu.ask(wanted, "case 7")
            assert path is not None
            meant = [kind]
            # nobody need have chosen the first: a name of another kind on offer is taken at its word
            if kind is kinds[0]:
                meant += [other for other in kinds if typed.endswith(other.endings[0])]
            assert path == named(path, meant[-1])
            assert path.parent == tmp_path
            stem = path.name.removesuffix(meant[-1].endings[0])
            assert stem in {f"case 7 {_ENTRIES[wanted][2]}", "other", "case 1.5"}


def test_the_name_in_the_dialog_follows_the_kind(parent: QWidget, tmp_path: Path) -> None:
    seen: list[str] = []

    def act(dialog: QFileDialog) -> None:
        dialog.setDirectory(str(tmp_path))
        for kind in (SVG, PNG, PDF):
            pick(dialog, kind)
            seen.append(name_field(dialog).text())

    in_dialog(act)
    assert ask_where(parent, "Figure", "case.pdf", (PDF, SVG, PNG)) == tmp_path / "case.pdf"
    assert seen == ["case.svg", "case.png", "case.pdf"]


def test_a_file_that_the_new_ending_would_replace_is_asked_about(parent: QWidget, tmp_path: Path) -> None:
    (tmp_path / "case.svg").write_text("old")
    said: list[str] = []

    def step() -> None:
        if "end" in said:
            return
        QTimer.singleShot(50, step)  # first of all: what is pressed below may wait for the next step
        box = QApplication.activeModalWidget()
        if isinstance(box, QMessageBox):
            said.append(box.text())
            box.button(QMessageBox.StandardButton.Yes).click()
        elif isinstance(box, QFileDialog):
            if not said:
                box.setDirectory(str(tmp_path))
                pick(box, SVG)
                name_field(box).setText("case.png")
            said.append(name_field(box).text())
            box.findChild(QDialogButtonBox).button(QDialogButtonBox.StandardButton.Save).click()

    QTimer.singleShot(50, step)
    path = ask_where(parent, "Figure", "case.pdf", (PDF, SVG, PNG))
    said.append("end")
    assert path == tmp_path / "case.svg"
    assert said[:2] == ["case.png", "case.svg"]
    assert "already exists" in said[2]


def test_a_change_of_mind_writes_nothing(parent: QWidget) -> None:
    QTimer.singleShot(50, lambda: QApplication.activeModalWidget().reject())
    assert ask_where(parent, "Figure", "case.pdf", (PDF, SVG, PNG)) is None
