"""What a run leaves: its result in memory, and the files that people take away."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__
from .errors import ExportError
from .export import (
    ExportOptions,
    check_patch_folder,
    export_patches,
    iter_export_files,
    overlay_figure,
    write_map_geojson,
)
from .files import cannot_write, replacing
from .maps import AttentionMap, read_map
from .progress import Progress, Steps
from .slides import SlideRef, open_slide

if TYPE_CHECKING:
    from .export import ExportKind
    from .features import Features
    from .maps import CutBy, MapScore, Spread
    from .slides import Slide
    from .tiling import TissueMask

WRITING = "Writing results"


@dataclass(frozen=True, slots=True, eq=False)
class RunResult:
    """What a run leaves in memory and on disk.

    Parameters
    ----------
    slide : SlideRef
        The slide.
    mask : TissueMask
        Where its tissue is.
    features : Features
        The bag.
    map : AttentionMap
        Raw scores and prediction.
    files : mapping of str to Path
        What was written, by name ("attention.h5"); empty without an output folder.
    seconds : mapping of str to float
        Wall time of each stage.
    """

    slide: SlideRef
    mask: TissueMask
    features: Features
    map: AttentionMap
    files: Mapping[str, Path]
    seconds: Mapping[str, float]


def iter_export(
    map_file: str | os.PathLike[str],
    slide_path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    what: Sequence[ExportKind] = ("tiles", "overlay", "patches"),
    options: ExportOptions | None = None,
    class_name: str | None = None,
    cut: tuple[CutBy, float] | None = None,
    overwrite: bool = False,
) -> Steps[dict[str, Path]]:
    """Write what people take away of a map made before, all of it or nothing, yielding Progress.

    Parameters
    ----------
    map_file : path
        An attention map.
    slide_path : path
        The slide that it was made from.
    out : path
        Folder for the files.
    what : sequence of str
        Which, see `EXPORT_KINDS`.
    options : ExportOptions or None
        What they are to look like; None takes the usual.
    class_name : str or None
        Show this class instead of the one in the options.
    cut : (str, float) or None
        A threshold instead of the one in the options, by "value", "percentile", "count" or "area" and how much, see
        `Cuts.threshold`.
    overwrite : bool
        Replace what is there.

    Yields
    ------
    Progress
        At most about ten a second.

    Returns
    -------
    dict of str to Path
        What was written, by name.

    Raises
    ------
    NapariMilError
        If the map belongs to another slide, or the folder cannot be written, in words.
    """
    amap = read_map(map_file)
    chosen = options or ExportOptions()
    display = chosen.display
    if class_name is not None:
        display = replace(display, class_index=_class_index(amap, class_name))
    if cut is not None:
        display = display.cut(amap, *cut)
    with open_slide(slide_path, mpp=amap.slide.mpp) as slide:
        if not same_slide(amap.slide, slide.ref):
            raise ExportError(
                f"{map_file} was made from another slide ({Path(amap.slide.path).name}), not from {slide_path}. "
                "Give the slide that it belongs to."
            )
        return (
            yield from iter_export_files(out, slide, amap, what, replace(chosen, display=display), overwrite=overwrite)
        )


def _class_index(amap: AttentionMap, name: str) -> int:
    names = amap.prediction.class_names
    if name not in names:
        raise ExportError(f'This map has no class "{name}". It has: {", ".join(names)}.')
    return names.index(name)


def same_slide(made_from: SlideRef, slide: SlideRef) -> bool:
    """Tell whether a result belongs to a slide: by quickhash, or by size where the result's file knows no hash.

    Parameters
    ----------
    made_from : SlideRef
        What the result says.
    slide : SlideRef
        The slide at hand.

    Returns
    -------
    bool
        Files of other tools (TRIDENT's) carry no hash; the size in pixels is all that can be compared then.
    """
    if made_from.quickhash and slide.quickhash:
        return made_from.quickhash == slide.quickhash
    return made_from.shape == slide.shape


def output_folder(out: str | os.PathLike[str]) -> Path:
    """Make the folder of a run, or say at once why it will not do.

    Parameters
    ----------
    out : path
        The folder.

    Returns
    -------
    Path
        The folder, which exists now.

    Raises
    ------
    ExportError
        If it cannot be made or written, or holds what must not be replaced.
    """
    folder = Path(out)
    check_patch_folder(folder / "patches", overwrite=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise ExportError(cannot_write(folder, err)) from err
    if not os.access(folder, os.W_OK):
        raise ExportError(f"The folder {folder} is read-only. Choose another.")
    return folder


def write_results(folder: Path, slide: Slide, amap: AttentionMap, top_k: int) -> Steps[dict[str, Path]]:
    """Write the map and all that people take away of it, replacing an earlier run's; yield Progress.

    Parameters
    ----------
    folder : Path
        From `output_folder`.
    slide : Slide
        The map's slide, open.
    amap : AttentionMap
        The map.
    top_k : int
        How many patches.

    Yields
    ------
    Progress
        At most about ten a second.

    Returns
    -------
    dict of str to Path
        What was written, by name.
    """
    yield Progress(WRITING, message="attention.h5")
    amap.save(folder / "attention.h5")
    files = {"attention.h5": folder / "attention.h5"}
    yield Progress(WRITING, message="attention.geojson")
    files["attention.geojson"] = write_map_geojson(folder / "attention.geojson", amap, offset_xy=slide.bounds_origin_xy)
    yield Progress(WRITING, message="heatmap.png")
    files["heatmap.png"] = overlay_figure(folder / "heatmap.png", slide, amap)
    yield from export_patches(slide, amap, folder / "patches", k=top_k, table=folder / "patches.csv", overwrite=True)
    return {**files, "patches": folder / "patches", "patches.csv": folder / "patches.csv"}


def _spread_record(spread: Spread | None) -> dict[str, Any] | None:
    """Say how far members disagree about the slide, over what, and which models they were."""
    if spread is None:
        return None
    return {
        "method": spread.method,
        "members": spread.members,
        "seed": spread.seed,
        "probabilities": [float(p) for p in spread.probabilities],
        "logits": [float(x) for x in spread.logits],
        "models": [asdict(card) for card in spread.models],
    }


def _score_record(score: MapScore) -> dict[str, Any]:
    """Say what a score is, and with which settings it was computed where it has any."""
    from .models import GRADIENT_STEPS

    settings: dict[str, Any] = {}
    if "integrated_gradients" in (score.kind, score.of):
        settings = {"baseline": "zero features", "steps": GRADIENT_STEPS}
    return {"kind": score.kind, **({"of": score.of} if score.of else {}), **settings}


def write_run_json(path: Path, result: RunResult) -> Path:
    """Write provenance and timings; strict JSON (no NaN), renamed into place."""
    amap = result.map
    record = {
        "napari_mil": __version__,
        "slide": asdict(result.slide),
        "model": asdict(amap.model),
        "encoder": asdict(amap.encoder),
        "provenance": asdict(amap.provenance),
        "prediction": {
            "class_names": list(amap.prediction.class_names),
            "probabilities": [float(p) for p in amap.prediction.probabilities],
            "logits": [float(x) for x in amap.prediction.logits],
            "spread": _spread_record(amap.prediction.spread),
        },
        "scores": {name: _score_record(score) for name, score in amap.scores.items()},
        "tiles": {
            "count": len(amap.grid),
            "unreadable": result.features.unreadable_tiles,
            "tile_px": amap.grid.tile_px,
            "mpp": amap.grid.mpp,
            "tile_l0_px": amap.grid.tile_l0,
            "stride_l0_px": amap.grid.stride_l0,
        },
        "tissue_mm2": result.mask.area_mm2,
        "tissue_origin": result.mask.origin,
        "seconds": dict(result.seconds),
        "files": {name: str(file.name) for name, file in result.files.items()},
    }
    with replacing(path, ExportError) as partial:
        partial.write_text(json.dumps(record, indent=2, default=str, allow_nan=False), encoding="utf-8")
    return path
