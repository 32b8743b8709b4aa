"""The cohort table: which slides, their labels, their patients, and perhaps a given split."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..counting import agreed
from ..errors import CohortError
from ..slides import slide_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SPLITS = ("train", "val", "test")
_SHOWN = 5  # faults named in one message


@dataclass(frozen=True, slots=True)
class Cohort:
    """A table of labelled slides, one entry per slide in each field.

    Parameters
    ----------
    slides : tuple of str
        Path or stem of each slide, as the table gives it.
    labels : tuple of str
        Its class.
    patients : tuple of str
        Its patient; the slide itself where the table names none.
    splits : tuple of str or None
        "train", "val" or "test", where the table has the column.
    class_names : tuple of str
        The classes in the model's order.
    extra : mapping of str to tuple of str
        All other columns, untouched.
    """

    slides: tuple[str, ...]
    labels: tuple[str, ...]
    patients: tuple[str, ...]
    splits: tuple[str, ...] | None
    class_names: tuple[str, ...]
    extra: Mapping[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.slides)

    @property
    def targets(self) -> NDArray[np.int64]:
        """Index of each slide's class, (S,) int64."""
        return np.array([self.class_names.index(label) for label in self.labels], dtype=np.int64)


def read_cohort(path: str | os.PathLike[str], *, class_names: Sequence[str] | None = None) -> Cohort:
    """Read and check a cohort table.

    Parameters
    ----------
    path : path
        CSV with a header, separated by commas or semicolons: columns ``slide`` (path or stem) and ``label``;
        optionally ``patient`` and ``split`` (train, val, test). Other columns are kept.
    class_names : sequence of str, optional
        The classes in the model's order; sorted labels by default, so that the last is the "positive" one of two.

    Returns
    -------
    Cohort
        The table.

    Raises
    ------
    CohortError
        If the file cannot be read, a column is missing, a cell is empty, a slide is listed twice, fewer than two
        classes are present, or a patient is in two splits. Rows are numbered as in a spreadsheet: the header is 1.
    """
    path = Path(path)
    table = _read_table(path)
    for column in ("slide", "label"):
        if column not in table:
            raise CohortError(
                f"{path.name} has no column {column!r} (found: {', '.join(map(str, table.columns))}). "
                "Name the columns slide, label and, if known, patient and split."
            )
    if table.empty:
        raise CohortError(f"{path.name} lists no slides. Add one row per slide.")
    for column in ("slide", "label", "patient", "split"):
        if column in table:
            _refuse(path, table.index[table[column] == ""], f"an empty {column}", "Fill it in, or remove the row")
    if "split" in table:
        table["split"] = table["split"].str.lower()
        _refuse(path, table.index[~table["split"].isin(_SPLITS)], "an unknown split", f"Use {', '.join(_SPLITS)}")
    stems = table["slide"].map(slide_name)
    _refuse(path, table.index[stems.duplicated()], "a slide that was listed before", "List each slide once")
    return _checked(path, table, class_names)


def _read_table(path: Path) -> pd.DataFrame:
    try:
        with path.open(encoding="utf-8-sig") as file:
            header = file.readline()
        table = pd.read_csv(
            path,
            sep=";" if ";" in header and "," not in header else ",",
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,
            header=None,
            encoding="utf-8-sig",
        )
    except FileNotFoundError as error:
        raise CohortError(f"There is no cohort table {path}. Check the path.") from error
    except pd.errors.ParserError as error:
        # in pandas' own words: "Error tokenizing data. C error: Expected 2 fields in line 2, saw 3"
        counts = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        if counts is None:
            raise CohortError(f"{path} cannot be read as a table: {error}. Save it as CSV (UTF-8).") from error
        wanted, row, found = counts.groups()
        raise CohortError(
            f"{path.name} has {found} cells in row {row}, where the header has {wanted}. "
            "Put cells that hold a comma between quotation marks, or save the table anew as CSV (UTF-8)."
        ) from error
    except (OSError, UnicodeDecodeError, pd.errors.EmptyDataError) as error:
        raise CohortError(f"{path} cannot be read as a table: {error}. Save it as CSV (UTF-8).") from error
    table = table.fillna("").apply(lambda column: column.str.strip())
    # Read as a row like all others: as a header, pandas would take a cell too many in every row for the row's name,
    # and shift all columns by one.
    names = [_plain_name(name) for name in table.iloc[0]]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise CohortError(f"{path.name} has the column {twice[0]!r} twice. Keep one of them.")
    table = table.iloc[1:].set_axis(names, axis=1)
    table.index = pd.RangeIndex(2, len(table) + 2)  # as a spreadsheet counts
    filled: pd.DataFrame = table[(table != "").any(axis=1)]
    return filled


def _plain_name(column: str) -> str:
    return column.lower() if column.lower() in ("slide", "label", "patient", "split") else column


def _refuse(path: Path, rows: pd.Index, fault: str, remedy: str) -> None:
    if len(rows):
        shown = ", ".join(map(str, rows[:_SHOWN])) + (f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else "")
        raise CohortError(f"{path.name} has {fault} in {agreed(len(rows), 'row', 'rows')} {shown}. {remedy}.")


def _checked(path: Path, table: pd.DataFrame, class_names: Sequence[str] | None) -> Cohort:
    labels = tuple(table["label"])
    names = tuple(sorted(set(labels)) if class_names is None else class_names)
    if len(set(labels)) < 2:
        raise CohortError(f"{path.name} has slides of one class only ({labels[0]}). A model needs at least two.")
    if set(names) != set(labels) or len(set(names)) != len(names):
        raise CohortError(
            f"{path.name} has the classes {', '.join(sorted(set(labels)))}, but {', '.join(names)} were asked for. "
            "Name each class of the table once."
        )
    patients = tuple(table["patient"]) if "patient" in table else tuple(table["slide"].map(slide_name))
    splits = tuple(table["split"]) if "split" in table else None
    if splits is not None:
        _check_splits(path, patients, labels, splits)
    known = ("slide", "label", "patient", "split")
    extra = {str(name): tuple(table[name]) for name in table.columns if name not in known}
    return Cohort(tuple(table["slide"]), labels, patients, splits, names, extra)


def _check_splits(path: Path, patients: Sequence[str], labels: Sequence[str], splits: Sequence[str]) -> None:
    seen: dict[str, set[str]] = {}
    for patient, split in zip(patients, splits, strict=True):
        seen.setdefault(patient, set()).add(split)
    leaks = [patient for patient, where in seen.items() if len(where) > 1]
    if leaks:
        shown = ", ".join(leaks[:_SHOWN]) + (f" and {len(leaks) - _SHOWN} more" if len(leaks) > _SHOWN else "")
        raise CohortError(
            f"{path.name} has patients in more than one split: {shown}. "
            "Keep all slides of a patient in one split, else the test measures memory."
        )
    for split in ("train", "test"):
        present = {label for label, where in zip(labels, splits, strict=True) if where == split}
        if present != set(labels):
            missing = ", ".join(sorted(set(labels) - present))
            raise CohortError(f"{path.name} has no slide of {missing} in the split {split!r}. Move some there.")
