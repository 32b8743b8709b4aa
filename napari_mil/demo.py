"""``napari-mil demo``: the demo model on the sample slide, as a report folder and, with a display, in napari."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .pipeline import iter_run
from .samples import DEMO_MODELS, sample_file

if TYPE_CHECKING:
    from .console import Console


def run_demo(out: Path, *, window: bool, console: Console) -> None:
    """Run the demo.

    Parameters
    ----------
    out : Path
        Report folder.
    window : bool
        Whether to open napari afterwards, where there is a display that can be used; else it is said why not.
    console : Console
        Where to speak.

    Raises
    ------
    NapariMilError
        If the sample data is missing or the folder cannot be written.
    """
    from ._napari.display import display_problem
    from ._napari.launch import view_slide
    from .describe import describe_run

    slide = sample_file("sample-lesion.tif")
    result = console.drive(iter_run(slide, model=sample_file(DEMO_MODELS[0]), out=out, top_k=20))
    record, text = describe_run(result, out)
    note = "This is a generated slide and a demo model trained on generated slides: neither says anything of patients."
    problem = display_problem() if window else "as asked"
    if problem:
        note += f" No window was opened ({problem}): the picture is {out / 'heatmap.png'}."
    console.result({**record, "note": note}, f"{text}\n{note}")
    if not problem:
        view_slide(slide, map_file=out / "attention.h5")
