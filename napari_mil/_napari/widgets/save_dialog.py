"""Asking where to write a file: the name ends as the chosen kind of file demands, whatever was typed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file to choose in a dialog.

    Parameters
    ----------
    words : str
        What it is called there.
    endings : tuple of str
        With their dot, in small letters; the first is written where the name has none of them.
    """

    words: str
    endings: tuple[str, ...]

    @property
    def filter(self) -> str:
        """The line of the dialog's list of kinds."""
        return f"{self.words} ({' '.join(f'*{ending}' for ending in self.endings)})"


PNG, PDF, SVG = FileKind("PNG", (".png",)), FileKind("PDF", (".pdf",)), FileKind("SVG", (".svg",))
TIFF, JPEG = FileKind("TIFF", (".tif", ".tiff")), FileKind("JPEG", (".jpg", ".jpeg"))
OME_TIFF = FileKind("OME-TIFF", (".ome.tif", ".ome.tiff"))
GEOJSON, GEOJSON_GZ = FileKind("GeoJSON", (".geojson",)), FileKind("GeoJSON, compressed", (".geojson.gz",))
CSV, PAGE = FileKind("CSV", (".csv",)), FileKind("Web page", (".html", ".htm"))
# half an ending is what Qt's own dialog makes of .geojson when .geojson.gz is chosen
_HALF = FileKind("", (".gz",))
_ALL = (PNG, PDF, SVG, OME_TIFF, TIFF, JPEG, GEOJSON_GZ, GEOJSON, CSV, PAGE, _HALF)


def ask_where(parent: QWidget | None, title: str, suggested: str | Path, kinds: Sequence[FileKind]) -> Path | None:
    """Ask for the name of a file to write.

    A name of another kind than the one chosen gets that kind's ending. Where the kind was left as it was and the name
    typed ends as another of those on offer, that is the one. The dialog asks before a file is replaced, also where the
    name became another's by its new ending.

    Parameters
    ----------
    parent : QWidget or None
        Whose dialog it is.
    title : str
        What is written.
    suggested : str or Path
        Its name at first, with the ending of the first kind.
    kinds : sequence of FileKind
        Of which one can be chosen.

    Returns
    -------
    Path or None
        None where the person changed their mind.
    """
    by_filter = {kind.filter: kind for kind in kinds}
    dialog = QFileDialog(parent, title, str(suggested), ";;".join(by_filter))
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    dialog.setFileMode(QFileDialog.FileMode.AnyFile)
    _expect(dialog, kinds[0])

    def chosen(line: str) -> None:
        kind = by_filter[line]
        _expect(dialog, kind)
        for typed in dialog.selectedFiles()[:1]:
            dialog.selectFile(named(Path(typed), kind).name)

    # where the system's own dialog tells at the end only, the ending is put right below
    dialog.filterSelected.connect(chosen)
    while dialog.exec():
        typed = Path(dialog.selectedFiles()[0])
        path = named(typed, _meant(typed, by_filter.get(dialog.selectedNameFilter(), kinds[0]), kinds))
        if path == typed or not path.exists():
            return path
        dialog.selectFile(str(path))  # accepted once more, it asks whether to replace that one
    return None


def named(path: Path, kind: FileKind) -> Path:
    """Return a name with the ending of a kind of file, in the place of another kind's.

    Parameters
    ----------
    path : Path
        As typed.
    kind : FileKind
        What will be written.

    Returns
    -------
    Path
        The same where it ends so already.
    """
    ending = _ending(path, (kind, *_ALL))
    if ending in kind.endings:
        return path
    stem = path.name[: len(path.name) - len(ending)]
    return path.with_name(f"{stem or path.name}{kind.endings[0]}")


def _meant(typed: Path, chosen: FileKind, kinds: Sequence[FileKind]) -> FileKind:
    """Return the kind of file meant: the one chosen; with the first, which nobody need have chosen, by the ending."""
    if chosen is not kinds[0]:
        return chosen
    ending = _ending(typed, kinds)
    return next((kind for kind in kinds if ending in kind.endings), chosen)


def _ending(path: Path, kinds: Iterable[FileKind]) -> str:
    """Return the longest of the kinds' endings that a name has, empty where it has none."""
    name = path.name.lower()
    fitting = {ending for kind in kinds for ending in kind.endings if name.endswith(ending)}
    return max(fitting, key=len, default="")


def _expect(dialog: QFileDialog, kind: FileKind) -> None:
    """Have the dialog add the kind's ending to a name without any, before it asks whether a file may be replaced."""
    dialog.setDefaultSuffix(kind.endings[0].removeprefix("."))
