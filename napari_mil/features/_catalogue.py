"""Find an encoder by name or path, and list those at hand."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import EncoderError
from ._colour_texture_table import TABLE
from ._features import EncoderInfo
from ._folder import models_folder
from ._known import PATHOLOGY, TRUNCATED_RESNET, KnownEncoder, known_encoder, obstacle
from ._notes import are_plain, colours_of, encoder_kind, encoder_name, read_note

if TYPE_CHECKING:
    from ._encoder import Encoder

COLOUR_TEXTURE = "colour-texture"
_COLOUR_TEXTURE_TITLE = "Colour and texture (built in)"
_MIN_TILE_PX = 16
_IMAGENET = "mean 0.485, 0.456, 0.406, standard deviation 0.229, 0.224, 0.225"


@dataclass(frozen=True, slots=True)
class EncoderEntry:
    """An encoder of the registry, as a list shows it; nothing is loaded for it.

    Parameters
    ----------
    name : str
        What `load_encoder` takes: a name or a path.
    title : str
        What a person reads.
    usable : bool
        Whether it can be used as it is.
    reason : str
        Why not, in one sentence with the remedy; empty where usable.
    info : EncoderInfo or None
        What is remembered of it, its file unread: ``dim``, ``tile_px``, ``mpp`` 0 and ``weights_hash`` "" where not
        remembered. None where its note is damaged.
    source : str
        Where it comes from: a file, a hub, or this package.
    licence : str
        Terms of use in short; empty where unknown.
    gated : bool
        Whether its weights are given out on request only.
    normalisation : str
        How colours are prepared before it sees them, in words; empty where unknown.
    parameters : float
        Millions of parameters; 0 where unknown.
    """

    name: str
    title: str
    usable: bool
    reason: str
    info: EncoderInfo | None
    source: str
    licence: str = ""
    gated: bool = False
    normalisation: str = ""
    parameters: float = 0.0


def load_encoder(name_or_path: str | Path, *, tile_px: int | None = None, mpp: float | None = None) -> Encoder:
    """Load an encoder.

    Parameters
    ----------
    name_or_path : str or Path
        ``"colour-texture"`` (built in; 64 px at 1 um/px unless told otherwise); the path of an encoder file or folder,
        or its name in the models folder ("idc_cnn"): TorchScript, an exported program (.pt2), a folder of timm's with
        config.json and safetensors; ``"timm:<model>"``; ``"resnet50_trunc"`` (CLAM's); or a pathology encoder that
        lazyslide-models knows ("uni2").
    tile_px : int, optional
        Patch edge in pixels, where the encoder leaves it open.
    mpp : float, optional
        Microns per patch pixel, where the encoder leaves it open.

    Returns
    -------
    Encoder
        On the CPU.

    Raises
    ------
    EncoderError
        Where there is no such encoder or it cannot be loaded; the message says what to do.
    ValueError
        Where ``tile_px`` or ``mpp`` is not positive.
    """
    if tile_px is not None and tile_px <= 0:
        raise ValueError(f"tile_px must be positive, not {tile_px}")
    if mpp is not None and not mpp > 0:
        raise ValueError(f"mpp must be positive, not {mpp}")
    encoder = _loaded(str(name_or_path), tile_px, mpp)
    encoder.origin = str(name_or_path)
    return encoder


def _loaded(name: str, tile_px: int | None, mpp: float | None) -> Encoder:
    if name == COLOUR_TEXTURE:
        return _load_colour_texture(tile_px or 64, mpp or 1.0)
    if name.startswith("timm:"):
        from ._timm import load_timm

        return load_timm(name.removeprefix("timm:"), tile_px=tile_px, mpp=mpp)
    found = _file_meant(name)
    if found is not None:
        from ._files import load_file

        return load_file(found, tile_px=tile_px, mpp=mpp)
    if name == TRUNCATED_RESNET.name:
        from ._timm import load_truncated_resnet

        return load_truncated_resnet(tile_px=tile_px, mpp=mpp)
    return _load_pathology(name, tile_px, mpp)


def _file_meant(name: str) -> Path | None:
    """Return the file or folder that a name means: by its path, or by its name in the models folder."""
    path = Path(name).expanduser()
    named = (file for file in _encoder_files(models_folder()) if name in (encoder_name(file), file.name))
    # a folder that happens to be called like an encoder is none
    meant = path.is_file() or (path.is_dir() and (len(path.parts) > 1 or bool(encoder_kind(path))))
    return path if meant else next(named, None)


def check_encoder_name(name: str) -> Path | None:
    """Refuse a name that no encoder here has, as far as that can be told without loading anything.

    Parameters
    ----------
    name : str
        As `load_encoder` takes it.

    Returns
    -------
    Path or None
        The file or folder that it means; None of an encoder that is known by name.

    Raises
    ------
    EncoderError
        If it names none.
    """
    if name == COLOUR_TEXTURE or name.startswith("timm:"):
        return None
    found = _file_meant(name)
    if found is not None or name == TRUNCATED_RESNET.name or known_encoder(name) is not None:
        return found
    # others that lazyslide-models may have, it must be loaded to ask; but none is called like a file
    if os.sep in name or Path(name).suffix in (".pt", ".pt2", ".pth") or find_spec("lazyslide_models") is None:
        raise _no_such(name)
    return None


def _no_such(name: str) -> EncoderError:
    return EncoderError(
        f"There is no encoder {name!r}. Give the path of an encoder file, put one into {models_folder()}, "
        "or use one that 'napari-mil encoders' lists."
    )


def _load_pathology(name: str, tile_px: int | None, mpp: float | None) -> Encoder:
    from ._lazyslide import is_registered, load_lazyslide

    # a path cannot be one, and the package takes seconds to ask
    if known_encoder(name) is not None or (os.sep not in name and is_registered(name)):
        return load_lazyslide(name, tile_px=tile_px, mpp=mpp)
    raise _no_such(name)


def list_encoders(folder: Path | None = None) -> list[EncoderEntry]:
    """List the encoders at hand: the built-in one, those of the models folder, and known ones whose weights are here.

    Parameters
    ----------
    folder : Path, optional
        Another folder to look in.

    Returns
    -------
    list of EncoderEntry
        Those that lack their patch size are listed as not usable, with the remedy.
    """
    entries = [_built_in(), *(_entry(path) for path in _encoder_files(folder or models_folder()))]
    return entries + [entry for entry in known_encoders() if entry.usable]


def known_encoders() -> list[EncoderEntry]:
    """List the encoders of others that are known by name, at hand or not.

    Returns
    -------
    list of EncoderEntry
        Not usable are those whose package or weights are not here; the reason says how to get them.
    """
    return [_known_entry(known) for known in (TRUNCATED_RESNET, *PATHOLOGY)]


def _known_entry(known: KnownEncoder) -> EncoderEntry:
    truncated = known is TRUNCATED_RESNET
    local = models_folder() / "timm" / f"{known.hub.removeprefix('timm/')}.safetensors"
    reason = "" if truncated and local.is_file() and find_spec("timm") else obstacle(known)
    return EncoderEntry(
        known.name,
        known.title,
        not reason,
        reason,
        EncoderInfo(known.name, "", "", known.dim, known.tile_px, known.mpp),
        source=f"hf.co/{known.hub}",
        licence=known.licence,
        gated=known.gated,
        normalisation=_IMAGENET if truncated else "its authors', through lazyslide-models",
        parameters=known.parameters,
    )


def _built_in() -> EncoderEntry:
    return EncoderEntry(
        COLOUR_TEXTURE,
        _COLOUR_TEXTURE_TITLE,
        True,
        "",
        _colour_texture_info(64, 1.0),
        source="napari-mil",
        licence="BSD-3-Clause",
        normalisation="none",
    )


def _entry(path: Path) -> EncoderEntry:
    name = encoder_name(path)
    try:
        note = read_note(path)
    except EncoderError as err:
        return EncoderEntry(str(path), name, False, str(err), None, source=str(path))
    if note is None:
        reason = "It is not known for which patches it was trained. Choose a model that was trained with it first."
        unknown = EncoderInfo(name, version="", weights_hash="", dim=0, tile_px=0, mpp=0.0)
        return EncoderEntry(str(path), name, False, reason, unknown, source=str(path))
    info = EncoderInfo(
        name=str(note.get("name") or name),
        version=str(note.get("version", "")),
        weights_hash=str(note.get("weights_hash", "")),
        dim=int(note.get("dim", 0)),
        tile_px=int(note["tile_px"]),
        mpp=float(note["mpp"]),
    )
    mean, std = colours_of(note)
    return EncoderEntry(
        str(path),
        str(note.get("title") or name),
        True,
        "",
        info,
        source=str(path),
        licence=str(note.get("licence", "")),
        normalisation="none" if are_plain(mean, std) else f"mean {_three(mean)}, standard deviation {_three(std)}",
    )


def _three(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)


def _encoder_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    endings = {".pt", ".pt2", ".ts", ".jit", ".torchscript"}
    likely = (path for path in folder.iterdir() if path.is_dir() or path.suffix.lower() in endings)
    return sorted(path for path in likely if encoder_kind(path))


def _load_colour_texture(tile_px: int, mpp: float) -> Encoder:
    if tile_px < _MIN_TILE_PX:
        raise EncoderError(
            f"The colour-texture encoder needs patches of at least {_MIN_TILE_PX} px, not {tile_px}. Enlarge --tile-px."
        )
    from ._colour_texture import ColourTexture
    from ._encoder import Encoder

    return Encoder(
        ColourTexture(),
        _colour_texture_info(tile_px, mpp),
        title=_COLOUR_TEXTURE_TITLE,
        source="napari-mil",
        licence="BSD-3-Clause",
    )


def _colour_texture_info(tile_px: int, mpp: float) -> EncoderInfo:
    return EncoderInfo(COLOUR_TEXTURE, version="1", weights_hash="", dim=len(TABLE), tile_px=tile_px, mpp=mpp)
