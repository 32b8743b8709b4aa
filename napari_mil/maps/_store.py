"""The attention map's file: HDF5 with raw scores and one JSON attribute for everything else."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from ..errors import MapError
from ..features import EncoderInfo
from ..files import replacing
from ..models import ModelCard
from ..slides import SlideRef
from ..tiling import TileGrid
from ._map import AttentionMap, MapScore, Prediction, Provenance, Spread
from ._scales import SCALES_FOR_KIND

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

FORMAT_VERSION = 1
_SHOWN = "napari_mil_shown"
_GRID_FIELDS = ("tile_l0", "stride_l0", "tile_px", "mpp")


def write_map(path: str | os.PathLike[str], amap: AttentionMap, shown: Mapping[str, Any] | None = None) -> None:
    """Write a map to HDF5.

    Datasets ``coords`` (N, 2) int64, (x, y), ``tissue_fraction`` (N,) and ``scores/<name>``; all else is JSON in the
    file's attribute ``napari_mil``. The file appears under its name only when it is complete; `read_map` gives back
    every number exactly.

    Parameters
    ----------
    path : path
        Where; an older file is replaced.
    amap : AttentionMap
        The map.
    shown : mapping, optional
        How it is being looked at, JSON-able; see `read_shown`.

    Raises
    ------
    MapError
        If the disk refuses.
    """
    record = {
        "format": "attention map",
        "format_version": FORMAT_VERSION,
        "kinds": {name: score.kind for name, score in amap.scores.items()},
        "spread_of": {name: score.of for name, score in amap.scores.items() if score.of is not None},
        "default_score": amap.default_score,
        "grid": {name: getattr(amap.grid, name) for name in _GRID_FIELDS},
        "prediction": {
            "class_names": list(amap.prediction.class_names),
            "logits": amap.prediction.logits.tolist(),
            "probabilities": amap.prediction.probabilities.tolist(),
            "spread": _spread_record(amap.prediction.spread),
        },
        "slide": asdict(amap.slide),
        "encoder": asdict(amap.encoder),
        "model": asdict(amap.model),
        "provenance": asdict(amap.provenance),
    }
    text = json.dumps(record, allow_nan=False)
    # In memory first: on a full disk HDF5 swallows a failed flush, or takes the process down with it.
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["napari_mil"] = text
        if shown is not None:
            file.attrs[_SHOWN] = json.dumps(dict(shown), allow_nan=False)
        file["coords"] = amap.grid.l0_rc[:, ::-1]
        file["tissue_fraction"] = amap.grid.tissue_fraction
        for name, score in amap.scores.items():
            file[f"scores/{name}"] = score.raw
    with replacing(path, MapError) as partial:
        partial.write_bytes(buffer.getbuffer())


def read_map(path: str | os.PathLike[str]) -> AttentionMap:
    """Read a map that `write_map` wrote.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    AttentionMap
        Equal in every number to the one written.

    Raises
    ------
    MapError
        If it is missing, not an attention map, incomplete, or from a newer version.
    """
    file_path = Path(path)
    if not file_path.is_file():
        raise MapError(f"There is no attention map {file_path}. Check the name, or run the model on the slide first.")
    try:
        with h5py.File(file_path, "r") as file:
            record = _record(file, file_path)
            arrays = {name: np.asarray(file[name]) for name in ("coords", "tissue_fraction")}
            raw = {name: np.asarray(file["scores"][name]) for name in record["kinds"]}
        return _build(record, arrays, raw)
    except OSError as err:
        raise MapError(f"{file_path} is not a readable attention map: it is damaged or of another kind.") from err
    except (AttributeError, LookupError, TypeError, ValueError) as err:
        raise MapError(
            f"The attention map {file_path} is incomplete ({err}). Run the model on the slide again."
        ) from err


def _spread_record(spread: Spread | None) -> dict[str, Any] | None:
    """Return a spread as JSON can hold it."""
    if spread is None:
        return None
    numbers = {"logits": spread.logits.tolist(), "probabilities": spread.probabilities.tolist()}
    return {**asdict(replace(spread, **numbers)), "models": [asdict(card) for card in spread.models]}


def _spread(record: dict[str, Any] | None) -> Spread | None:
    """Return a spread from its record; None in files without one, as all older ones are."""
    if record is None:
        return None
    numbers = {name: np.array(record[name], np.float32) for name in ("logits", "probabilities")}
    return Spread(**{**record, **numbers, "models": tuple(_card(card) for card in record["models"])})


def _card(record: dict[str, Any]) -> ModelCard:
    return ModelCard(**{**record, "class_names": tuple(record["class_names"])})


def read_shown(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read how a map was looked at when it was saved.

    Parameters
    ----------
    path : path
        A file that `read_map` reads.

    Returns
    -------
    dict
        As `write_map` was given it; empty where the file holds none, or none that can be read: a map is worth showing
        without.
    """
    try:
        with h5py.File(Path(path), "r") as file:
            kept = json.loads(str(file.attrs.get(_SHOWN, "{}")))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _record(file: Any, path: Path) -> dict[str, Any]:
    """Return the JSON attribute of an attention map, or say what the file is not."""
    text = file.attrs.get("napari_mil")
    record = json.loads(text) if isinstance(text, str) else None
    if not isinstance(record, dict) or record.get("format") != "attention map":
        raise MapError(f"{path} is an HDF5 file, but not an attention map. Choose a file that napari-mil wrote as one.")
    if record["format_version"] > FORMAT_VERSION:
        raise MapError(f"The attention map {path} was written by a newer napari-mil. Update napari-mil to read it.")
    return record


def _build(record: dict[str, Any], arrays: dict[str, Any], raw: dict[str, Any]) -> AttentionMap:
    """Return the map from what the file held; KeyError, TypeError or ValueError where parts do not agree."""
    slide, model, prediction = record["slide"], record["model"], record["prediction"]
    unknown = sorted(set(record["kinds"].values()) - set(SCALES_FOR_KIND))
    if unknown:
        raise ValueError(f"unknown kind of score: {', '.join(unknown)}")
    mpp, of = slide["mpp"], record.get("spread_of", {})
    return AttentionMap(
        scores={name: MapScore(raw[name], kind, of.get(name)) for name, kind in record["kinds"].items()},
        grid=TileGrid(
            np.ascontiguousarray(arrays["coords"][:, ::-1]), tissue_fraction=arrays["tissue_fraction"], **record["grid"]
        ),
        prediction=Prediction(
            tuple(prediction["class_names"]),
            np.array(prediction["logits"], np.float32),
            np.array(prediction["probabilities"], np.float32),
            _spread(prediction.get("spread")),
        ),
        slide=SlideRef(**{**slide, "mpp": mpp and (mpp[0], mpp[1]), "shape": tuple(slide["shape"])}),
        encoder=EncoderInfo(**record["encoder"]),
        model=_card(model),
        default_score=record["default_score"],
        provenance=Provenance(**record["provenance"]),
    )
