"""The work on a slide in one small file: maps, how they are looked at, annotations, tags, tissue and view.

A ZIP archive (``.napari-mil``) of ``work.json`` and what it names: maps as `maps.write_map` writes them, annotations as
GeoJSON, the tissue as a PNG picture. The slide itself stays where it is; the file holds its place and its quickhash.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path, PureWindowsPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from . import __version__
from .annotations import read_annotations, write_geojson
from .errors import NapariMilError, SlideMovedError, WorkError
from .files import replacing
from .maps import read_map, read_tags, write_map
from .results import same_slide
from .slides import SlideRef, open_slide
from .tiling import TissueMask
from .work import DockPlace, Outlined, ShownMap, View, Work

if TYPE_CHECKING:
    from .slides import Slide

ENDING = ".napari-mil"
FORMAT_VERSION = 1
_FORMAT = "napari-mil work"
_INDEX, _TISSUE = "work.json", "tissue.png"
_MOST_BYTES = 4 << 30
"""Unpacked, all together: no work comes near it, but an archive made to fill a disk does."""
_MOST_PX = 1 << 20
"""Of where a dock lies: far beyond any screen, and far from where Qt's numbers end."""


def write_work(path: str | os.PathLike[str], work: Work) -> Path:
    """Write the work on a slide; the file appears under its name only when it is complete.

    Parameters
    ----------
    path : path
        Where; ``.napari-mil`` is added where it is missing, and an older file is replaced.
    work : Work
        What to keep.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    WorkError
        If the disk refuses.
    """
    target = Path(path)
    if target.suffix.lower() != ENDING:
        target = target.with_name(target.name + ENDING)
    record = _record(work)
    with (
        replacing(target, WorkError) as partial,
        TemporaryDirectory() as name,
        zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive,
    ):
        folder = Path(name)
        archive.writestr(_INDEX, json.dumps(record, indent=1, allow_nan=False))
        for entry, shown in zip(record["maps"], work.maps, strict=True):
            write_map(folder / "map.h5", shown.map, shown.settings)
            archive.write(folder / "map.h5", entry["file"])
        for entry, outlined in zip(record["annotations"], work.annotations, strict=True):
            archive.write(write_geojson(folder / "outlines.geojson", outlined.annotations), entry["file"])
        if work.tissue is not None:
            archive.writestr(_TISSUE, _png(work.tissue))
    return target


def read_work(path: str | os.PathLike[str]) -> Work:
    """Read what `write_work` wrote.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    Work
        Every score exactly as it was; the slide is not looked for, see `open_work_slide`.

    Raises
    ------
    WorkError
        If it is missing, of another kind, damaged, or from a newer version.
    """
    file = Path(path)
    try:
        with zipfile.ZipFile(file) as archive, TemporaryDirectory() as name:
            record = _checked(archive, file)
            return _build(record, archive, Path(name))
    except FileNotFoundError as err:
        raise WorkError(f"There is no file {file}. Check the name.") from err
    except OSError as err:
        raise WorkError(f"Cannot read {file}: {err.strerror or err}. Check your permission to read it.") from err
    except WorkError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as err:
        raise WorkError(f"{file} is damaged, or no work of napari-mil. Take a copy of it from elsewhere.") from err
    except (NapariMilError, LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError) as err:
        raise WorkError(f"{file} is damaged: {err}") from err


def is_work_file(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path is by its ending the work on a slide."""
    return Path(path).suffix.lower() == ENDING and Path(path).is_file()


def open_work_slide(file: str | os.PathLike[str], work: Work, slide: str | os.PathLike[str] | None = None) -> Slide:
    """Open the slide that work was done on: where it lay, or beside the file.

    Parameters
    ----------
    file : path
        Where the work was read from.
    work : Work
        The work.
    slide : path or None
        Where the slide is now, if it is known.

    Returns
    -------
    Slide
        Open, at the scale at which it was shown.

    Raises
    ------
    SlideMovedError
        If it is in none of these places.
    WorkError
        If what was given is another slide.
    SlideError
        If it cannot be opened.
    """
    places = [Path(slide)] if slide is not None else _places(Path(file), work.slide)
    others = []
    for place in places:
        if not place.exists():
            continue
        opened = open_slide(place, mpp=work.slide.mpp)
        if same_slide(work.slide, opened.ref):
            return opened
        opened.close()
        others.append(place)
    name = Path(file).name
    if others:
        raise (WorkError if slide is not None else SlideMovedError)(
            f"{others[0]} is another slide than the one that {name} was made on ({_name(work.slide.path)}). "
            "Choose that one."
        )
    raise SlideMovedError(
        f"The slide of {name} is no longer at {work.slide.path}, nor beside {name}. Say where it is now."
    )


def _places(file: Path, slide: SlideRef) -> list[Path]:
    return [Path(slide.path), file.resolve().parent / _name(slide.path)]


def _name(path: str) -> str:
    """Return a file's name, whichever system wrote its path."""
    return PureWindowsPath(path).name


def _record(work: Work) -> dict[str, Any]:
    slide = asdict(work.slide) | {"path": str(Path(work.slide.path).absolute())}
    return {
        "format": _FORMAT,
        "format_version": FORMAT_VERSION,
        "napari_mil": __version__,
        "slide": slide,
        "maps": [
            {"file": f"maps/{n}.h5", "name": one.name, "visible": one.visible, "settings": dict(one.settings)}
            for n, one in enumerate(work.maps)
        ],
        "annotations": [
            {"file": f"annotations/{n}.geojson", "name": one.name, "visible": one.visible, "roles": dict(one.roles)}
            for n, one in enumerate(work.annotations)
        ],
        "tags": work.tags.to_record(),
        "tissue": None if work.tissue is None else {"file": _TISSUE, "origin": work.tissue.origin},
        "view": None if work.view is None else asdict(work.view),
        "docks": None if work.docks is None else [asdict(place) for place in work.docks],
    }


def _checked(archive: zipfile.ZipFile, file: Path) -> dict[str, Any]:
    """Return the archive's index, or say that it is none of ours or too new."""
    if _INDEX not in archive.namelist():
        raise WorkError(f"{file} holds no work on a slide. Choose a file that napari-mil saved ({ENDING}).")
    if sum(entry.file_size for entry in archive.infolist()) > _MOST_BYTES:
        raise WorkError(f"{file} would unpack to more than {_MOST_BYTES >> 30} GiB, which no work on a slide does.")
    record = json.loads(archive.read(_INDEX))
    if not isinstance(record, dict) or record.get("format") != _FORMAT:
        raise WorkError(f"{file} holds no work on a slide. Choose a file that napari-mil saved ({ENDING}).")
    version = record["format_version"]
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise WorkError(
            f"{file.name} was written by a newer napari-mil ({record.get('napari_mil')}); this is {__version__}. "
            "Update napari-mil to open it."
        )
    return record


def _build(record: Mapping[str, Any], archive: zipfile.ZipFile, folder: Path) -> Work:
    known = record["slide"]
    mpp = known["mpp"] and (float(known["mpp"][0]), float(known["mpp"][1]))
    height, width = (int(edge) for edge in known["shape"])
    slide = SlideRef(str(known["path"]), str(known["quickhash"]), mpp, (height, width))
    maps, annotations = [], []
    for entry in record["maps"]:
        place = folder / "map.h5"
        place.write_bytes(archive.read(entry["file"]))
        maps.append(ShownMap(read_map(place), str(entry["name"]), dict(entry["settings"]), bool(entry["visible"])))
    for entry in record["annotations"]:
        place = folder / "outlines.geojson"
        place.write_bytes(archive.read(entry["file"]))
        roles = {str(name): str(role) for name, role in entry["roles"].items()}
        outlined = Outlined(read_annotations(place), str(entry["name"]), roles, bool(entry["visible"]))
        annotations.append(outlined)
    tissue = record["tissue"]
    view = record["view"]
    return Work(
        slide,
        maps,
        annotations,
        read_tags(record["tags"]),
        None if tissue is None else _mask(archive.read(tissue["file"]), slide, str(tissue["origin"])),
        None if view is None else View((float(view["l0_center"][0]), float(view["l0_center"][1])), float(view["zoom"])),
        _docks(record["docks"]),
    )


def _docks(record: Any) -> tuple[DockPlace, ...] | None:
    """Return where docks were; what cannot be understood is left out, since a window can do without."""
    if not isinstance(record, list) or not all(isinstance(entry, dict) for entry in record):
        return None
    found = []
    for entry in record:
        area, geometry = entry.get("area"), entry.get("geometry")
        if area not in ("left", "right", "top", "bottom") or not _is_geometry(geometry):
            continue
        left, top, width, height = geometry
        flags = entry.get("floating") is True, (left, top, width, height), entry.get("front") is True
        found.append(DockPlace(str(entry.get("name")), area, *flags, str(entry.get("tab", ""))))
    return tuple(found)


def _is_geometry(found: Any) -> bool:
    """Tell whether something read is four numbers that a window system takes."""
    return (
        isinstance(found, list)
        and len(found) == 4
        and all(isinstance(number, int) and abs(number) <= _MOST_PX for number in found)
    )


def _png(mask: TissueMask) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(mask.mask.astype(np.uint8) * 255).save(buffer, "PNG")
    return buffer.getvalue()


def _mask(data: bytes, slide: SlideRef, origin: str) -> TissueMask:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        return TissueMask.from_labels(np.asarray(picture), slide.shape, slide.mpp, origin=origin)
