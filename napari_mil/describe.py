"""What a slide, a model, a feature file, a map or a finished run is: a record for machines, text for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .counting import agreed, counted
from .errors import ModelError, NapariMilError

if TYPE_CHECKING:
    from .features import Features, Format
    from .maps import AttentionMap
    from .results import RunResult

Described = tuple[dict[str, Any], str]


def describe(
    path: Path, *, slide: Path | None = None, patch_size: float | None = None, slide_mpp: float | None = None
) -> Described:
    """Say what a file is.

    Parameters
    ----------
    path : Path
        A slide, a model (.safetensors; .pt, .pth of other projects; ``hf:owner/name`` on the hub), a feature file of
        any known tool, or a map (.h5).
    slide, patch_size, slide_mpp
        For a feature file, as in `describe_features`.

    Returns
    -------
    (dict, str)
        JSON-able record, and the same as text.

    Raises
    ------
    NapariMilError
        If it is none of these.
    """
    from .describe_features import describe_features
    from .features import recognise
    from .models import MODEL_ENDINGS, is_on_hub

    if is_on_hub(path):
        return _model(path.as_posix())
    suffix = path.suffix.lower()
    if recognise(path) is not None or (suffix in (".h5", ".hdf5") and not _is_map(path)):
        return describe_features(path, slide=slide, patch_size=patch_size, slide_mpp=slide_mpp)
    if slide is not None or patch_size is not None or slide_mpp is not None:
        raise NapariMilError(
            f"{path} is no feature file, which slide, patch size and scale are asked for. Give one, or leave them out."
        )
    if suffix in MODEL_ENDINGS:
        return _model(str(path))
    return _map(path) if suffix in (".h5", ".hdf5") else _slide(path)


def describe_run(result: RunResult, out: Path) -> Described:
    """Say what a run came to.

    Parameters
    ----------
    result : RunResult
        The run.
    out : Path
        Its folder.

    Returns
    -------
    (dict, str)
        JSON-able record, and the same as text.
    """
    amap = result.map
    probabilities = _probabilities(amap)
    record = {
        "slide": result.slide.path,
        "model": amap.model.title or amap.model.pooling,
        "patches": len(result.features),
        "unreadable_patches": result.features.unreadable_tiles,
        "tissue_mm2": result.mask.area_mm2,
        "tissue_origin": result.mask.origin,
        "probabilities": probabilities,
        "spread": _spread(amap),
        "out": str(out),
        "files": {name: str(path) for name, path in result.files.items()},
        "seconds": dict(result.seconds),
    }
    area = (
        f", {result.mask.area_mm2:.1f} mm² of tissue ({result.mask.origin})" if result.mask.area_mm2 is not None else ""
    )
    text = (
        f"{Path(result.slide.path).name}: {counted(len(result.features), 'patch')}{area}{left_out(result.features)}\n"
        f"{record['model']}: {_chances(amap)}\n"
        f"Written to {out}: {', '.join(sorted(result.files))}"
    )
    return record, text


def describe_conversion(features: Features, was: Format | None, now: Format, files: Sequence[Path]) -> Described:
    """Say what a conversion came to.

    Parameters
    ----------
    features : Features
        What was converted.
    was, now : Format
        Of the file read and of the one written.
    files : sequence of Path
        What was written.

    Returns
    -------
    (dict, str)
        JSON-able record, and the same as text.
    """
    grid, numbers = features.grid, features.values.shape[1]
    names = [str(path) for path in files]
    record = {
        "from": was,
        "to": now,
        "slide": features.slide.path,
        "patches": len(features),
        "dim": int(numbers),
        "encoder": features.encoder.name,
        "tile_px": grid.tile_px,
        "mpp": grid.mpp,
        "tile_l0_px": grid.tile_l0,
        "files": names,
    }
    text = (
        f"{counted(len(features), 'patch')} of {grid.tile_um:g} µm ({grid.tile_l0:g} level-0 pixels), "
        f"{counted(numbers, 'number')} each, "
        f"from {was.tool if was else 'an unknown tool'} to {now.tool}\n"
        f"Written: {', '.join(names)}"
    )
    return record, text


def _slide(path: Path) -> Described:
    from .preferences import read_preferences
    from .slides import open_slide

    with open_slide(path) as slide:
        own = read_preferences().scales.get(slide.quickhash)
        record: dict[str, Any] = {
            "kind": "slide",
            "path": str(path),
            "format": slide.vendor,
            "shape_px": list(slide.shape),
            "mpp": list(slide.mpp) if slide.mpp else None,
            "mpp_set_in_window": list(own.mpp) if own is not None else None,
            "objective_power": slide.objective_power,
            "reader": slide.reader,
            "reader_why": slide.reader_why,
            "notes": list(slide.notes),
            "colours": slide.colours,
            "levels": [
                {"shape_px": list(shape), "downsample": down}
                for shape, down in zip(slide.level_shapes, slide.level_downsamples, strict=True)
            ],
            "quickhash": slide.ref.quickhash,
            "associated_images": sorted(slide.associated),
        }
        height, width = slide.shape
        scale = "scale unknown: give it with --slide-mpp"
        if slide.mpp:
            mm = f"{width * slide.mpp[1] / 1000:.1f} x {height * slide.mpp[0] / 1000:.1f} mm"
            scale = f"{slide.mpp[1]:.4g} µm per pixel, {mm}"
    levels = ", ".join(f"{level['downsample']:.4g}x" for level in record["levels"])
    lines = [
        f"{path.name}: {f'{slide.vendor} slide' if slide.vendor else 'picture'}, {width:,} x {height:,} px, {scale}",
        f"Levels: {levels}",
        f"Read by {slide.reader}" + (f": {slide.reader_why}" if slide.reader_why else ""),
        f"Colours: {record['colours']}",
        *(f"Note: {note}" for note in slide.notes),
    ]
    if own is not None:
        lines.append(
            f"In the window it is shown at {own.mpp[1]:.4g} µm per pixel, set by you on {own.day}. "
            f"Commands go by the file: give them --slide-mpp {own.mpp[1]:.4g}."
        )
    return record, "\n".join(lines)


def _model(name: str) -> Described:
    from .models import card_details, card_summary, is_on_hub, read_entry

    entry = read_entry(name)
    card = entry.card
    if card is None:
        raise ModelError(entry.reason)
    fetched = is_on_hub(name)
    record = {"kind": "model", "path": name, "file": str(entry.path), **asdict(card)}
    lines = [
        f"{card.title or entry.path.stem}: {card.pooling} model",
        *card_summary(card),
        *card_details(card),
        *([f"File: {entry.path}"] if fetched else []),
    ]
    return record, "\n".join(lines)


def _is_map(path: Path) -> bool:
    if not path.is_file():
        raise NapariMilError(f"There is no file {path}. Check the path.")
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return "scores" in file
    except OSError as err:
        raise NapariMilError(f"{path} is not a whole HDF5 file. Make it again, or check what copied it.") from err


def _map(path: Path) -> Described:
    from .maps import read_map, score_title

    amap = read_map(path)
    probabilities = _probabilities(amap)
    record = {
        "kind": "attention map",
        "path": str(path),
        "slide": asdict(amap.slide),
        "encoder": asdict(amap.encoder),
        "model": asdict(amap.model),
        "provenance": asdict(amap.provenance),
        "patches": len(amap),
        "scores": {name: score.kind for name, score in amap.scores.items()},
        "probabilities": probabilities,
        "spread": _spread(amap),
    }
    text = (
        f"{path.name}: attention map of {Path(amap.slide.path).name}, {counted(len(amap), 'patch')} of "
        f"{amap.grid.tile_um:g} µm\n"
        f"{amap.model.title or amap.model.pooling}: {_chances(amap)}\n"
        f"Scores: {', '.join(score_title(score.kind, score.of) for score in amap.scores.values())}"
    )
    return record, text


def left_out(features: Features) -> str:
    """Return a clause on the patches that are missing because the slide's file is damaged; empty where none are.

    Parameters
    ----------
    features : Features
        A slide's.

    Returns
    -------
    str
        Begins with a semicolon.
    """
    lost = features.unreadable_tiles
    return (
        f"; {lost:,} more could not be read (the slide's file is damaged there) and "
        f"{agreed(lost, 'was', 'were')} left out"
        if lost
        else ""
    )


def _chances(amap: AttentionMap) -> str:
    from .maps import format_probability

    spread = amap.prediction.spread
    apart = _spread(amap) or {}
    chances = [
        f"{name} {format_probability(p)}" + (f" ± {apart[name]:.1%}" if apart else "")
        for name, p in _probabilities(amap).items()
    ]
    return ", ".join(chances) + (f" (mean and spread over {spread.source})" if spread else "")


def _spread(amap: AttentionMap) -> dict[str, float] | None:
    """Return the spread of each class's probability, where there were several models or passes."""
    prediction = amap.prediction
    if prediction.spread is None:
        return None
    return {n: float(p) for n, p in zip(prediction.class_names, prediction.spread.probabilities, strict=True)}


def _probabilities(amap: AttentionMap) -> dict[str, float]:
    prediction = amap.prediction
    return {n: float(p) for n, p in zip(prediction.class_names, prediction.probabilities, strict=True)}
