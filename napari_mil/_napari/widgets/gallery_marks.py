"""Ticking and tagging the patches that are chosen in the gallery."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.utils.notifications import show_info

from .gallery_bar import tag_menu

if TYPE_CHECKING:
    from qtpy.QtWidgets import QMenu, QWidget

    from ..tags import TagBook
    from .gallery_model import PatchModel
    from .gallery_view import PatchList


class Marking:
    """Ticks and tags what is chosen in a list of patches.

    Parameters
    ----------
    patches : PatchList
        Where patches are chosen.
    model : PatchModel
        What it lists.
    book : TagBook
        Where marks are kept.
    """

    def __init__(self, patches: PatchList, model: PatchModel, book: TagBook) -> None:
        self._list, self._model, self._book = patches, model, book
        self.menu: QMenu | None = None
        """The tags that were offered last."""

    def toggle(self) -> None:
        """Tick the chosen patches, or untick them where all are ticked."""
        rows = self._rows()
        self._model.tick(rows, not all(self._model.mark(row).ticked for row in rows))

    def offer_tags(self, beside: QWidget) -> None:
        """Offer tags for the chosen patches in a menu over a button."""
        rows, overlay = self._rows(), self._model.overlay
        if not rows or overlay is None:
            show_info("Choose a patch first: click it, or step to it with N.")
            return
        # by place: the rows may be others by the time a tag is chosen
        places, slide, book = [self._model.place(row) for row in rows], overlay.map.slide.quickhash, self._book
        tags = book.of(slide)

        def tag(name: str, on: bool) -> None:
            book.keep(slide, book.of(slide).tagged(places, name, on))

        self.menu = tag_menu(beside, tags.names(), lambda name: all(name in tags.at(p).tags for p in places), tag)
        self.menu.popup(beside.mapToGlobal(beside.rect().topLeft()))

    def _rows(self) -> list[int]:
        return sorted(index.row() for index in self._list.selectionModel().selectedIndexes())
