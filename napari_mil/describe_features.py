"""What a feature file of any known tool is, and whether it fits a slide: a record for machines, text for people."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .counting import counted
from .describe import Described, left_out
from .errors import FeaturesError, OtherSlideError, PatchSizeUnknownError, ScaleUnknownError

if TYPE_CHECKING:
    from .features import Features
    from .slides import SlideRef

_UNKNOWN = 1.0
"""Stands in for a size or a scale that nobody has said, so that the rest of a file can be read; never shown."""


def describe_features(
    path: Path,
    *,
    slide: Path | None = None,
    patch_size: float | None = None,
    slide_mpp: float | None = None,
) -> Described:
    """Say what a feature file holds and, given a slide, whether it fits.

    Parameters
    ----------
    path : Path
        The file.
    slide : Path or None
        The slide to hold it against.
    patch_size : float or None
        Edge of a patch in level-0 pixels, where the file does not say it.
    slide_mpp : float or None
        Microns per level-0 pixel, where nothing says it.

    Returns
    -------
    (dict, str)
        JSON-able record, and the same as text.

    Raises
    ------
    NapariMilError
        If it cannot be read.
    """
    from .features import recognise
    from .slides import open_slide

    ref: SlideRef | None = None
    if slide is not None:
        with open_slide(slide, mpp=slide_mpp) as opened:
            ref = opened.ref
    features, lacks, against = _read(path, ref, patch_size, slide_mpp)
    grid, kind = features.grid, recognise(path)
    sized, scaled = "patch size" not in lacks, "scale" not in lacks
    # a file that says microns only has its size in pixels from the scale
    known_um = scaled and (sized or (ref is None and slide_mpp is None))
    record: dict[str, Any] = {
        "kind": "features",
        "path": str(path),
        "format": kind,
        "patches": len(features),
        "unreadable_patches": features.unreadable_tiles,
        "dim": int(features.values.shape[1]),
        "encoder": asdict(features.encoder) | ({} if known_um else {"tile_px": None, "mpp": None}),
        "slide": asdict(features.slide) | ({} if scaled and sized else {"mpp": None}),
        "tile_px": grid.tile_px if known_um else None,
        "mpp": grid.mpp if known_um else None,
        "tile_um": grid.tile_um if known_um else None,
        "tile_l0_px": grid.tile_l0 if sized else None,
        "lacks": lacks,
        "fits_slide": None if ref is None else not against and not lacks,
        "against_slide": against,
    }
    edge = " of unknown size"
    if known_um:
        edge = f" of {grid.tile_um:g} µm ({grid.tile_px} px at {grid.mpp:g} µm per pixel)"
    elif sized:
        edge = f" of {grid.tile_l0:g} level-0 pixels"
    tool = "an unknown tool" if kind is None else kind.tool
    made_by = features.encoder.name or "an encoder that it does not name"
    lines = [
        f"{path.name}: {counted(len(features), 'patch')}{edge}, {counted(features.values.shape[1], 'number')} each, "
        f"from {made_by}{left_out(features)}",
        f"Format: {tool}'s",
        f"Slide: {features.slide.path}",
        *(_lack(one) for one in lacks),
    ]
    if ref is not None and slide is not None:
        lines.append(_verdict(slide, against, lacks))
    return record, "\n".join(lines)


def _read(
    path: Path, ref: SlideRef | None, patch_size: float | None, slide_mpp: float | None
) -> tuple[Features, list[str], str]:
    """Return features, what the file lacks, and what speaks against its being of the slide."""
    from .features import read_foreign

    lacks: list[str] = []
    against, slide = "", ref
    while True:
        size = _UNKNOWN if "patch size" in lacks else patch_size
        mpp = _UNKNOWN if "scale" in lacks else slide_mpp
        try:
            return read_foreign(path, slide=slide, patch_size=size, slide_mpp=mpp), lacks, against
        except PatchSizeUnknownError:
            lacks.append("patch size")
        except ScaleUnknownError:
            lacks.append("scale")
        except OtherSlideError as err:
            if slide is None:
                raise
            against, slide = err.found, None
        if len(lacks) != len(set(lacks)):
            raise FeaturesError(f"{path} cannot be understood. Make it again with the tool that wrote it.")


def _lack(what: str) -> str:
    if what == "patch size":
        return "It does not say how large its patches are in level-0 pixels: give the size with --patch-size."
    return (
        "It does not say how many microns its patches are: give the slide with --slide or its scale with --slide-mpp."
    )


def _verdict(slide: Path, against: str, lacks: list[str]) -> str:
    if against:
        return f"Does not fit {slide.name}: {against}"
    if lacks:
        return f"Whether it fits {slide.name} cannot be told without the {' and the '.join(lacks)}."
    return f"Fits {slide.name}: all patches lie on it, and nothing that the file says of its slide disagrees."
