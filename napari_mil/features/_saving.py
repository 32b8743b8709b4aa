"""Keep an encoder that was trained further as a file that `load_encoder` takes."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch

from ..errors import EncoderError
from ..files import cannot_write
from ..triton_guard import without_triton
from ._encoder import FAILURES, Encoder, settle
from ._files import load_file, note_of
from ._notes import note_path, write_note

_CLOSE = 1e-4  # of the largest feature: what is written must compute what was trained


def save_encoder(encoder: Encoder, folder: str | os.PathLike[str], name: str, *, title: str = "") -> Encoder:
    """Write an encoder, weights and all, with the note that says which patches it takes.

    A model of timm's becomes a folder (``config.json`` and ``model.safetensors``), TorchScript stays TorchScript
    (``.pt``), anything else becomes an exported program (``.pt2``). Each is loaded again and must give the same
    features before it is put in its place.

    Parameters
    ----------
    encoder : Encoder
        The encoder; it is moved to the CPU.
    folder : path
        Where to; must exist. Gets ``<name>``, ``<name>.pt`` or ``<name>.pt2`` and its note beside it, both or neither.
    name : str
        What it is to be called; letters, digits, ``_`` and ``-``.
    title : str
        What a person reads in a list; by default the name.

    Returns
    -------
    Encoder
        As loaded from the file; its ``source`` is the file's path.

    Raises
    ------
    EncoderError
        Where an encoder of that name is there, the disk refuses, or the network cannot be written so that it computes
        the same.
    """
    if not re.fullmatch(r"[\w-]+", name):
        raise ValueError(f"name must be letters, digits, _ and -, not {name!r}")
    place = Path(folder)
    module = settle(encoder.to("cpu").module)
    try:
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=place) as partial:
            written = _written(encoder, module, Path(partial), name, title or name)
            return _put(written, place)
    except OSError as err:
        raise EncoderError(cannot_write(place / name, err)) from err


def _put(written: Encoder, place: Path) -> Encoder:
    """Move an encoder and its note out of the temporary folder, the weights last: without them it is none."""
    source = Path(written.source)
    target = place / source.name
    if target.exists():
        raise EncoderError(f"{target} is there already. Choose another folder, or move it away.")
    note_path(source).replace(note_path(target))
    try:
        source.replace(target)
    except OSError:
        note_path(target).unlink()
        raise
    written.source = written.origin = str(target)
    return written


def _written(encoder: Encoder, module: Any, folder: Path, name: str, title: str) -> Encoder:
    """Write, load and compare in the way that suits the network; where timm's way does not hold, export it."""
    ways = [_as_program]
    if isinstance(module, torch.jit.ScriptModule):
        ways = [_as_torchscript]
    elif type(module).__module__.startswith("timm."):
        ways = [_as_timm_folder, _as_program]
    failure: Exception | None = None
    for way in ways:
        try:
            path = way(encoder, module, folder / name)
            return _checked(encoder, module, path, name, title)
        except (EncoderError, *FAILURES) as err:
            failure = err
            shutil.rmtree(folder / name, ignore_errors=True)
    raise EncoderError(
        f"The network of {encoder.info.name} cannot be written so that it computes the same "
        f"({str(failure).strip().splitlines()[0]}). Choose an encoder of timm's or one in TorchScript."
    ) from failure


def _checked(encoder: Encoder, module: Any, path: Path, name: str, title: str) -> Encoder:
    """Write the note, load what was written, and compare features; complete the note."""
    info = encoder.info
    mean, std = encoder.colours
    note: dict[str, Any] = {"name": name, "title": title, "licence": encoder.licence, "version": info.version}
    note |= {"tile_px": info.tile_px, "mpp": info.mpp, "mean": mean, "std": std}
    write_note(path, note, digest="")
    loaded = load_file(path, tile_px=None, mpp=None)
    batch = torch.rand(3, 3, info.tile_px, info.tile_px, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted, found = encoder(batch), loaded(batch)
    if wanted.shape != found.shape or float((wanted - found).abs().max()) > _CLOSE * float(wanted.abs().max() + 1e-12):
        raise EncoderError("what was read back gives other features")
    write_note(path, note_of(loaded, *loaded.colours), digest="")
    return loaded


def _as_timm_folder(encoder: Encoder, module: Any, path: Path) -> Path:
    with without_triton():
        from timm.models import save_for_hf

    mean, std = encoder.colours
    edge = encoder.info.tile_px
    config = {"pretrained_cfg": {"mean": mean, "std": std, "input_size": (3, edge, edge)}}
    save_for_hf(module, str(path), model_config=config, safe_serialization=True)
    return path


def _as_torchscript(encoder: Encoder, module: Any, path: Path) -> Path:
    del encoder
    target = path.with_name(path.name + ".pt")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.save` is deprecated")
        torch.jit.save(module, target)
    return target


def _as_program(encoder: Encoder, module: Any, path: Path) -> Path:
    target = path.with_name(path.name + ".pt2")
    edge = encoder.info.tile_px
    with without_triton():
        batch = torch.export.Dim("batch", min=1)
        program = torch.export.export(module, (torch.zeros(2, 3, edge, edge),), dynamic_shapes=({0: batch},))
        torch.export.save(program, target)
    return target
