"""The user guide's pages, as they ship with the package: one per panel, in Markdown."""

from __future__ import annotations

import re
from pathlib import Path

from .errors import NapariMilError

_PACKAGE = Path(__file__).resolve().parent
_FILES = ("panel.md", "sessions.md", "keys.md", "scores.md")
_PICTURE = re.compile(r"^!\[[^\]]*\]\([^)]*\)\s*$", re.MULTILINE)
_NO_HEAD = re.compile(r"^\| \| \|$", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!https?://)[^)]*\)")


def help_folder() -> Path:
    """Return the folder of the user guide.

    Returns
    -------
    Path
        Inside the package when installed from a wheel, beside it in a checkout.

    Raises
    ------
    NapariMilError
        If neither is there.
    """
    for folder in (_PACKAGE / "docs", _PACKAGE.parent / "docs"):
        if all((folder / name).is_file() for name in _FILES):
            return folder
    raise NapariMilError("The help is missing from this installation. Install napari-mil again.")


def help_pages() -> dict[str, str]:
    """Return the pages by title: one for each section of the panel's guide, then the other guides.

    Returns
    -------
    dict of str to str
        Markdown without pictures, and without links to pages that only the guide on the web has.

    Raises
    ------
    NapariMilError
        If the guide is not installed.
    """
    folder = help_folder()
    pages: dict[str, str] = {}
    for name in _FILES:
        text = _PICTURE.sub("", (folder / name).read_text(encoding="utf-8"))
        text = _NO_HEAD.sub("| | What it is for |", _LINK.sub(r"\1", text))
        if name == "panel.md":
            for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
                title, _, body = section.partition("\n")
                pages[title.strip()] = f"## {title.strip()}\n{body}"
        else:
            pages[text.partition("\n")[0].lstrip("# ").strip()] = text
    return pages
