"""Make a small cohort of slides with known lesions, for training demo models and for tests."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from ._geojson import write_geojson
from ._tiff import pyramid_of, write_slide
from .painter import paint_slide, plan_slide

MPP = 0.5


def make_cohort(
    folder: str | Path,
    n_slides: int,
    seed: int,
    size: tuple[int, int] = (2000, 2500),
    lesion_fraction: float = 0.5,
) -> Path:
    """Write slides, their lesions and the table that ``napari-mil train`` reads.

    Every slide is another tissue, stained with another strength and marked with a pen; every third patient has two
    slides, of the same label.

    Parameters
    ----------
    folder : path
        Where to; made if need be. Gets ``slide-000.tif``, ..., ``slide-000.geojson`` beside each slide with tumour,
        and ``cohort.csv``.
    n_slides : int
        How many slides, at least 1.
    seed : int
        The same seed gives the same files.
    size : (int, int)
        Height and width of each slide in pixels of 0.5 um; at least 800.
    lesion_fraction : float
        Share of slides with tumour, 0 to 1.

    Returns
    -------
    Path
        ``cohort.csv`` with the columns ``slide`` (file name beside the table), ``label`` (``normal`` or ``tumour``)
        and ``patient``.

    Raises
    ------
    ValueError
        If there are no slides, or the fraction is not within 0 and 1, or the size too small.
    """
    if n_slides < 1:
        raise ValueError(f"a cohort needs at least one slide, not {n_slides}")
    if not 0 <= lesion_fraction <= 1:
        raise ValueError(f"lesion_fraction must lie in [0, 1], not {lesion_fraction}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "cohort.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("slide", "label", "patient"))
        for index, (label, patient) in enumerate(_assign(n_slides, seed, lesion_fraction)):
            path = folder / f"slide-{index:03d}.tif"
            _make_slide(path, seed * 100_003 + index, size, lesion=label == "tumour")
            writer.writerow((path.name, label, patient))
    return table


def _assign(n_slides: int, seed: int, lesion_fraction: float) -> list[tuple[str, str]]:
    """Return (label, patient) of every slide, in random order."""
    n_tumour = round(n_slides * lesion_fraction)
    rows = []
    patient = 0
    for label, count in (("tumour", n_tumour), ("normal", n_slides - n_tumour)):
        left = count
        while left:
            own = 2 if patient % 3 == 2 and left > 1 else 1
            rows += [(label, f"P{patient:03d}")] * own
            left -= own
            patient += 1
    order = np.random.default_rng([seed, 4]).permutation(n_slides)
    return [rows[index] for index in order]


def _make_slide(path: Path, seed: int, size: tuple[int, int], *, lesion: bool) -> None:
    plan = plan_slide(size, MPP, seed, lesion=lesion)
    write_slide(path, pyramid_of(paint_slide(plan)), MPP, description="napari-mil cohort: generated H&E-like tissue")
    if plan.outlines_rc:
        write_geojson(path.with_suffix(".geojson"), plan.outlines_rc, path.stem)
