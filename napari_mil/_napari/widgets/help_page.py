"""The help: the user guide's page of each panel, in a dock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QTextBrowser, QVBoxLayout, QWidget

from ...errors import NapariMilError
from ...help_pages import help_pages
from .choice_box import Choice, ChoiceBox

if TYPE_CHECKING:
    from collections.abc import Mapping


class HelpPage(QWidget):
    """A list of pages, and the page chosen.

    Parameters
    ----------
    parent : QWidget or None
        Qt parent.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._pages = _pages()
        self.page = ChoiceBox("Page of the help", self)
        self.text = QTextBrowser(self)
        self.text.setOpenExternalLinks(True)
        self.text.setAccessibleName("Help")
        layout = QVBoxLayout(self)
        layout.addWidget(self.page)
        layout.addWidget(self.text, 1)
        self.page.currentIndexChanged.connect(self._show)
        self.page.set_choices(Choice(title, title) for title in self._pages)
        self.setMinimumSize(320, 200)

    def show_page(self, title: str) -> None:
        """Show the page of a panel; the present one stays where there is none of that title."""
        self.page.choose(title)

    def _show(self, *_: object) -> None:
        chosen = self.page.current
        if chosen is not None:
            self.text.setMarkdown(self._pages[chosen.value])


def _pages() -> Mapping[str, str]:
    try:
        return help_pages()
    except NapariMilError as error:
        return {"Help": str(error)}
