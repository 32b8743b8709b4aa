"""What the Run button asks for, and the line that says where a run stands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari.layers import Layer

    from ...annotations import Annotation
    from ...progress import Progress
    from ...tiling import TissueMask


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What the Run button asks for.

    Parameters
    ----------
    layer : napari layer
        The slide's layer.
    slide_path : Path
        The slide.
    slide_mpp : (float, float) or None
        Microns per level-0 pixel that the person gave; None takes the slide's own.
    model, encoder : Path or str
        What `iter_run` takes.
    device : str
        "auto", "cpu", "cuda" or "mps".
    tissue : TissueMask, str or None
        Where the tissue is, or the method that finds it; None finds it by colour.
    within : tuple of Annotation or None
        Outlines to stay within.
    isolated : bool
        Whether patches are encoded in a process of its own.
    also : tuple of str
        Scores to compute besides the model's own.
    mc_dropout : int
        Passes with dropout on, for a spread; 0 for none.
    """

    layer: Layer
    slide_path: Path
    slide_mpp: tuple[float, float] | None
    model: Path
    encoder: str
    device: str
    tissue: TissueMask | str | None = None
    within: tuple[Annotation, ...] | None = None
    isolated: bool = False
    also: tuple[str, ...] = ()
    mc_dropout: int = 0


def progress_line(step: Progress) -> str:
    """Say in one line where a run stands: stage, how far, how fast, how long still.

    Parameters
    ----------
    step : Progress
        From the run.

    Returns
    -------
    str
        For the panel.
    """
    parts = [step.stage]
    if step.total:
        parts.append(f"{step.done:,} of {step.total:,}")
    if step.rate > 0:
        parts.append(f"{step.rate:,.0f} {step.unit}/s")
    left = step.seconds_left
    if left is not None:
        parts.append(f"{left:.0f} s left" if left < 90 else f"{left / 60:.0f} min left")
    line = ", ".join(parts)
    return f"{line}. {step.message}" if step.message else line
