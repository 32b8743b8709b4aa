"""What the benchmarks of models share: results kept while a grid is under way, and tables written into the docs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_mil.errors import ExportError
from napari_mil.files import replacing

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
RESULTS = ROOT / "results" / "benchmarks"  # ignored by git
PAGE = ROOT / "docs" / "benchmarks.md"

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kept:
    """Results of the cells of a grid, one file each, so that a run can be interrupted and go on.

    Parameters
    ----------
    folder : Path
        Where they lie.
    settings : mapping
        What makes them comparable: a result that was made with other settings is not there.
    """

    folder: Path
    settings: Mapping[str, Any]

    def find(self, *key: object) -> Figures | None:
        """Return the result of a cell, or None."""
        path = self._path(key)
        if not path.is_file():
            return None
        held = json.loads(path.read_text(encoding="utf-8"))
        return held["figures"] if held["settings"] == self._settings() else None

    def make(self, make: Callable[[], Figures], *key: object, again: bool = False) -> Figures:
        """Return the result of a cell, made and kept if it is not there, or if it is asked for again."""
        found = None if again else self.find(*key)
        if found is None:
            found = make()
            self.folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"settings": self._settings(), "figures": found})
            with replacing(self._path(key), ExportError) as path:
                path.write_text(text, encoding="utf-8")
            print(json.dumps({"cell": [str(part) for part in key], **found}), flush=True)
        return found

    def all(self, keys: Iterable[Sequence[object]]) -> list[Figures]:
        """Return the results of those cells that are there."""
        return [found for key in keys if (found := self.find(*key)) is not None]

    def _path(self, key: Sequence[object]) -> Path:
        return self.folder / ("-".join(str(part) for part in key) + ".json")

    def _settings(self) -> Any:
        return json.loads(json.dumps(dict(self.settings)))  # as JSON gives it back: tuples are lists


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Return mean and standard deviation (ddof 1) as text, without the zero before the point; "" for no values."""
    if not values:
        return ""
    mean = _short(float(np.mean(values)), digits)
    return f"{mean} ± {_short(float(np.std(values, ddof=1)), digits)}" if len(values) > 1 else mean


def _short(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.{digits}f}"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def rewrite(name: str, text: str, page: Path = PAGE) -> None:
    """Put text into the block of a page that belongs to a benchmark.

    Parameters
    ----------
    name : str
        The block's name: it stands between ``<!-- made by NAME -->`` and ``<!-- end of NAME -->``.
    text : str
        Markdown.
    page : Path
        The page.

    Raises
    ------
    ValueError
        If the page does not hold the two marks once, in this order.
    """
    first, last = f"<!-- made by {name} -->", f"<!-- end of {name} -->"
    whole = page.read_text(encoding="utf-8")
    if whole.count(first) != 1 or whole.count(last) != 1 or whole.index(first) > whole.index(last):
        raise ValueError(f"{page.name} must hold {first} and, after it, {last}, once each")
    before, rest = whole.split(first)
    after = rest.split(last)[1]
    with replacing(page, ExportError) as path:
        path.write_text(f"{before}{first}\n\n{text.strip()}\n\n{last}{after}", encoding="utf-8")
