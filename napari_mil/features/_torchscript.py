"""Encoders in TorchScript files."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from ..errors import EncoderError
from ._encoder import Encoder, probe_dimension
from ._features import EncoderInfo
from ._notes import encoder_name, hash_file, is_torchscript, read_note, write_note


def load_torchscript(path: Path, *, tile_px: int | None, mpp: float | None) -> Encoder:
    """Load an encoder from a TorchScript file.

    Parameters
    ----------
    path : Path
        The file; takes (N, 3, T, T) float32 in [0, 1] (after its note's mean and std), returns (N, D).
    tile_px : int, optional
        Patch edge in pixels; needed the first time, remembered then. A value given wins over the one remembered.
    mpp : float, optional
        Microns per patch pixel; likewise.

    Raises
    ------
    EncoderError
        Where the file is no TorchScript, does not fit the patches, or nothing says which patches it takes.
    """
    if not is_torchscript(path):
        raise EncoderError(
            f"{path} is not a TorchScript encoder (a file of weights alone cannot be run). "
            "Export the network with torch.jit.script or torch.jit.trace and save that."
        )
    digest = hash_file(path)
    note = read_note(path, digest) or {}
    tile_px, mpp = tile_px or note.get("tile_px"), mpp or note.get("mpp")
    if tile_px is None or mpp is None:
        raise EncoderError(
            f"{path.name} does not say which patches it was trained on. Give their edge in pixels and their "
            "resolution once with --tile-px and --encoder-mpp (microns per pixel); they are then remembered."
        )
    name = str(note.get("name") or encoder_name(path))
    module = _load_module(path)
    info = EncoderInfo(
        name=name,
        version=str(note.get("version", "")),
        weights_hash=digest,
        dim=probe_dimension(module, int(tile_px), path.name),
        tile_px=int(tile_px),
        mpp=float(mpp),
    )
    encoder = Encoder(
        module,
        info,
        title=str(note.get("title") or name),
        source=str(path),
        licence=str(note.get("licence", "")),
        mean=note.get("mean", (0.0, 0.0, 0.0)),
        std=note.get("std", (1.0, 1.0, 1.0)),
    )
    if not note:
        write_note(path, _note_of(encoder), digest)
    return encoder


def _note_of(encoder: Encoder) -> dict[str, Any]:
    info = encoder.info
    return {
        "name": info.name,
        "title": encoder.title,
        "licence": encoder.licence,
        "version": info.version,
        "weights_hash": info.weights_hash,
        "tile_px": info.tile_px,
        "mpp": info.mpp,
        "dim": info.dim,
        "mean": [0.0, 0.0, 0.0],
        "std": [1.0, 1.0, 1.0],
    }


def _load_module(path: Path) -> Any:
    with warnings.catch_warnings():
        # TorchScript stays the format in which others hand out encoders, deprecated or not
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.load` is deprecated", category=FutureWarning)
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.load` is deprecated", category=DeprecationWarning)
        try:
            return torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
        except (RuntimeError, ValueError) as err:
            raise EncoderError(
                f"{path} cannot be loaded as TorchScript; it may be damaged or made by a newer PyTorch. "
                "Copy it again, or export it with this PyTorch."
            ) from err
