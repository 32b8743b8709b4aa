"""Encoders in files: TorchScript, programs exported by PyTorch, and folders of timm's with safetensors."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..errors import EncoderError
from ..triton_guard import without_triton
from ._encoder import Encoder, probe_dimension
from ._features import EncoderInfo
from ._known import REMEDY
from ._notes import are_plain, colours_of, encoder_kind, encoder_name, hash_file, read_note, weights_file, write_note


def load_file(path: Path, *, tile_px: int | None, mpp: float | None) -> Encoder:
    """Load an encoder from a file or folder; nothing is fetched.

    Parameters
    ----------
    path : Path
        The file or folder; takes (N, 3, T, T) float32 in [0, 1] (after its note's or config's mean and std), returns
        (N, D).
    tile_px : int, optional
        Patch edge in pixels; needed the first time, remembered then. A value given wins over the one remembered.
    mpp : float, optional
        Microns per patch pixel; likewise.

    Raises
    ------
    EncoderError
        Where the file is no encoder, does not fit the patches, or nothing says which patches it takes.
    """
    kind = encoder_kind(path)
    if not kind:
        raise EncoderError(
            f"{path} is not a TorchScript encoder, nor an exported program (.pt2), nor a folder of timm's with "
            "config.json and weights in safetensors (a file of weights alone cannot be run). Export the network with "
            "torch.jit.trace or torch.export and save that."
        )
    digest = hash_file(weights_file(path))
    remembered = read_note(path, digest)
    module, config = _LOADERS[kind](path)
    # what a folder's own config.json says of colours goes before what was remembered
    note: dict[str, Any] = {
        **config,
        **(remembered or {}),
        **{name: config[name] for name in ("mean", "std") if name in config},
    }
    mean, std = colours_of(note)
    tile_px, mpp = tile_px or note.get("tile_px"), mpp or note.get("mpp")
    if tile_px is None or mpp is None:
        raise EncoderError(
            f"{path.name} does not say which patches it was trained on. Give their edge in pixels and their "
            "resolution once with --tile-px and --encoder-mpp (microns per pixel); they are then remembered."
        )
    name = str(note.get("name") or encoder_name(path))
    info = EncoderInfo(
        name=name,
        version=str(note.get("version", "")),
        weights_hash=_with_colours(digest, mean, std),
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
        mean=mean,
        std=std,
    )
    if remembered is None:
        write_note(path, note_of(encoder, mean, std), digest)
    return encoder


def _with_colours(digest: str, mean: tuple[float, ...], std: tuple[float, ...]) -> str:
    """Return what tells encoders apart: the hash of the weights, and with it how colours are prepared, if they are."""
    if are_plain(mean, std):
        return digest
    return hashlib.sha256(json.dumps([digest, mean, std]).encode()).hexdigest()[:16]


def note_of(encoder: Encoder, mean: tuple[float, ...], std: tuple[float, ...]) -> dict[str, Any]:
    """Return what is to be remembered of an encoder whose colours are normalised with this mean and deviation."""
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
        "mean": mean,
        "std": std,
    }


def _torchscript(path: Path) -> tuple[Any, dict[str, Any]]:
    with warnings.catch_warnings():
        # TorchScript stays the format in which others hand out encoders, deprecated or not
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.load` is deprecated", category=FutureWarning)
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.load` is deprecated", category=DeprecationWarning)
        try:
            return torch.jit.load(path, map_location="cpu"), {}  # type: ignore[no-untyped-call]
        except (RuntimeError, ValueError) as err:
            raise EncoderError(
                f"{path} cannot be loaded as TorchScript; it may be damaged or made by a newer PyTorch. "
                "Copy it again, or export it with this PyTorch."
            ) from err


def _exported(path: Path) -> tuple[Any, dict[str, Any]]:
    try:
        with without_triton():
            return torch.export.load(path).module(), {}
    except (RuntimeError, ValueError, KeyError, OSError, AssertionError) as err:
        raise EncoderError(
            f"{path} cannot be loaded as an exported program; it may be damaged or made by another PyTorch. "
            "Copy it again, or export it with this PyTorch."
        ) from err


def _timm_folder(path: Path) -> tuple[Any, dict[str, Any]]:
    try:
        with without_triton():
            import timm
    except ImportError as err:
        raise EncoderError(f"{path} is an encoder of timm's. {REMEDY}") from err
    try:
        module = timm.create_model(f"local-dir:{path}", pretrained=True, num_classes=0)
    except (RuntimeError, OSError, ValueError, KeyError, TypeError) as err:
        raise EncoderError(
            f"{path} cannot be loaded by timm ({str(err).splitlines()[0]}). Check its config.json and its weights."
        ) from err
    config = timm.data.resolve_model_data_config(module)
    return module, {"tile_px": int(config["input_size"][-1]), "mean": config["mean"], "std": config["std"]}


_LOADERS: dict[str, Callable[[Path], tuple[Any, dict[str, Any]]]] = {
    "torchscript": _torchscript,
    "exported": _exported,
    "timm folder": _timm_folder,
}
