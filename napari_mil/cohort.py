"""The pipeline over many slides."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .annotations import outlines_for, resolve_tissue
from .counting import counted
from .errors import FeaturesError
from .features import EncoderInfo, iter_extract, load_encoder, read_features
from .progress import Progress, Steps
from .slides import open_slide, slide_name
from .tiling import TileGrid, tile


@dataclass(frozen=True, slots=True)
class Extracted:
    """One slide's features on disk.

    Parameters
    ----------
    slide : str
        The slide's path.
    file : str
        The feature file.
    patches : int
        How many patches it holds.
    """

    slide: str
    file: str
    patches: int


def extract_slides(
    slides: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    encoder: str,
    tile_px: int | None = None,
    mpp: float | None = None,
    device: str = "auto",
    slide_mpp: float | None = None,
    tissue: str | os.PathLike[str] | None = None,
    within: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> Steps[list[Extracted]]:
    """Extract features of slides one after the other, each into ``<out>/<slide name>.h5``.

    Slides that are done already are read back; an interrupted one goes on where it stopped.

    Parameters
    ----------
    slides : sequence of path
        The slides.
    out : path
        Folder of the feature files.
    encoder : str
        What `load_encoder` takes.
    tile_px : int or None
        Patch edge in pixels; None takes the encoder's.
    mpp : float or None
        Microns per patch pixel; None takes the encoder's.
    device : str
        "auto", "cpu", "cuda" or "mps".
    slide_mpp : float or None
        Microns per level-0 pixel, for slides that do not state it.
    tissue : path or None
        Outlines of the tissue: a file for one slide, a folder for several (see `outlines_for`); None finds it.
    within : path or None
        Outlines to stay within, likewise.
    overwrite : bool
        Replace whole feature files that were made with another encoder or tile size.

    Yields
    ------
    Progress
        At most about ten a second.

    Returns
    -------
    list of Extracted
        One per slide.

    Raises
    ------
    NapariMilError
        Before anything is done if a slide cannot be opened, else at the first that cannot be done; in words.
    """
    paths = [Path(slide) for slide in slides]
    _refuse_same_names(paths)
    for path in paths:
        open_slide(path, mpp=slide_mpp).close()  # a wrong name is said now, not after hours
    names = [slide_name(path) for path in paths]
    drawn = {
        key: [None] * len(names) if place is None else outlines_for(place, names)
        for key, place in (("tissue", tissue), ("within", within))
    }
    coder = load_encoder(encoder, tile_px=tile_px, mpp=mpp)
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise FeaturesError(f"Cannot make the folder {folder}: {err.strerror}. Choose another with --out.") from err
    done = []
    for number, path in enumerate(paths, 1):
        yield Progress(f"{path.name} ({number} of {len(paths)})", message="finding tissue")
        with open_slide(path, mpp=slide_mpp) as slide:
            mask = resolve_tissue(slide, drawn["tissue"][number - 1], drawn["within"][number - 1])
            grid = tile(slide, mask, tile_px=coder.info.tile_px, mpp=coder.info.mpp)
            target = folder / f"{slide_name(path)}.h5"
            if not overwrite:
                _refuse_other_settings(target, coder.info, grid)
            features = yield from iter_extract(slide, grid, coder, device=device, out=target)
        done.append(Extracted(str(path), str(target), len(features)))
    return done


def _refuse_other_settings(target: Path, wanted: EncoderInfo, grid: TileGrid) -> None:
    """Raise FeaturesError where a whole feature file would be replaced by one made otherwise."""
    if not target.is_file():
        return
    features = read_features(target)
    found = features.encoder
    if found != wanted:
        raise FeaturesError(
            f"{target} holds features of {found.name}, {found.tile_px} px at {found.mpp:g} um/px, not of "
            f"{wanted.name}, {wanted.tile_px} px at {wanted.mpp:g} um/px. "
            "Choose another folder, or allow overwriting (--overwrite)."
        )
    asked = {tuple(rc) for rc in grid.l0_rc.tolist()}
    kept = {tuple(rc) for rc in features.grid.l0_rc.tolist()}
    if not kept <= asked or len(kept) + features.unreadable_tiles != len(asked):
        raise FeaturesError(
            f"{target} holds {counted(len(kept), 'patch')} of another tissue mask; this one has {len(asked):,}. "
            "Choose another folder, or allow overwriting (--overwrite)."
        )


def _refuse_same_names(paths: Sequence[Path]) -> None:
    known: dict[str, Path] = {}
    for path in paths:
        name = slide_name(path)
        if name in known:
            raise FeaturesError(
                f"{known[name]} and {path} would both become {name}.h5. Extract them into different folders."
            )
        known[name] = path
