"""Find an encoder by name or path, and list those at hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import EncoderError
from ._colour_texture_table import TABLE
from ._features import EncoderInfo
from ._folder import models_folder
from ._notes import encoder_name, is_torchscript, read_note

if TYPE_CHECKING:
    from ._encoder import Encoder

COLOUR_TEXTURE = "colour-texture"
_COLOUR_TEXTURE_TITLE = "Colour and texture (built in)"
_MIN_TILE_PX = 16


@dataclass(frozen=True, slots=True)
class EncoderEntry:
    """An encoder at hand, as a list shows it; nothing is loaded for it.

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
    """

    name: str
    title: str
    usable: bool
    reason: str
    info: EncoderInfo | None


def load_encoder(name_or_path: str | Path, *, tile_px: int | None = None, mpp: float | None = None) -> Encoder:
    """Load an encoder.

    Parameters
    ----------
    name_or_path : str or Path
        ``"colour-texture"`` (built in; 64 px at 1 um/px unless told otherwise), the path of a TorchScript file or
        the name of one in the models folder ("idc_cnn"), or ``"timm:<model>"``.
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
    name = str(name_or_path)
    if name == COLOUR_TEXTURE:
        return _load_colour_texture(tile_px or 64, mpp or 1.0)
    if name.startswith("timm:"):
        from ._timm import load_timm

        return load_timm(name.removeprefix("timm:"), tile_px=tile_px, mpp=mpp)
    path = Path(name).expanduser()
    named = (file for file in _torchscript_files(models_folder()) if name in (encoder_name(file), file.name))
    found = path if path.is_file() else next(named, None)
    if found is not None:
        from ._torchscript import load_torchscript

        return load_torchscript(found, tile_px=tile_px, mpp=mpp)
    raise EncoderError(
        f"There is no encoder {name!r}. Give the path of a TorchScript file, put one into {models_folder()}, "
        "or use 'colour-texture' or 'timm:<model>'."
    )


def list_encoders(folder: Path | None = None) -> list[EncoderEntry]:
    """List the encoders at hand: the built-in one, then the TorchScript files of the models folder by name.

    Parameters
    ----------
    folder : Path, optional
        Another folder to look in.

    Returns
    -------
    list of EncoderEntry
        Those that lack their patch size are listed as not usable, with the remedy.
    """
    entries = [EncoderEntry(COLOUR_TEXTURE, _COLOUR_TEXTURE_TITLE, True, "", _colour_texture_info(64, 1.0))]
    return entries + [_entry(path) for path in _torchscript_files(folder or models_folder())]


def _entry(path: Path) -> EncoderEntry:
    try:
        note = read_note(path)
    except EncoderError as err:
        return EncoderEntry(str(path), encoder_name(path), False, str(err), None)
    if note is None:
        reason = "It is not known for which patches it was trained. Choose a model that was trained with it first."
        unknown = EncoderInfo(encoder_name(path), version="", weights_hash="", dim=0, tile_px=0, mpp=0.0)
        return EncoderEntry(str(path), encoder_name(path), False, reason, unknown)
    title = str(note.get("title") or encoder_name(path))
    info = EncoderInfo(
        name=str(note.get("name") or encoder_name(path)),
        version=str(note.get("version", "")),
        weights_hash=str(note.get("weights_hash", "")),
        dim=int(note.get("dim", 0)),
        tile_px=int(note["tile_px"]),
        mpp=float(note["mpp"]),
    )
    return EncoderEntry(str(path), title, True, "", info)


def _torchscript_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    endings = {".pt", ".ts", ".jit", ".torchscript"}
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in endings and is_torchscript(path))


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
