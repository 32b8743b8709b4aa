"""Reading annotations, whichever program drew them."""

from __future__ import annotations

import gc
import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import AnnotationError
from ._annotation import Annotation
from ._asap import parse_asap
from ._geojson import parse_geojson

_GZIP_MAGIC = b"\x1f\x8b"


def read_annotations(path: str | os.PathLike[str], *, offset_xy: tuple[float, float] = (0.0, 0.0)) -> list[Annotation]:
    """Read outlines from QuPath GeoJSON (0.3 and later; also gzipped) or ASAP XML.

    The content decides which, not the file's name. Outlines that cross themselves are repaired; objects that a
    program made (detections, cells, tiles) are left out.

    Parameters
    ----------
    path : path
        The file.
    offset_xy : (float, float)
        Level-0 (x, y) of the file's (0, 0): ``openslide.bounds-x`` and ``-y`` for a slide that states them, because
        QuPath counts from there.

    Returns
    -------
    list of Annotation
        In the file's order; empty if nothing was drawn.

    Raises
    ------
    AnnotationError
        If the file is missing, of another kind, or broken; says which entry.
    """
    file = Path(path)
    try:
        data = file.read_bytes()
        text = (gzip.decompress(data) if data.startswith(_GZIP_MAGIC) else data).decode("utf-8-sig").strip()
    except FileNotFoundError as err:
        raise AnnotationError(f"There is no annotation file {file}. Check the name.") from err
    except (OSError, EOFError, zlib.error) as err:
        raise AnnotationError(f"Cannot read {file}: {err}. Check the file and your permission to read it.") from err
    except UnicodeDecodeError as err:
        raise AnnotationError(f"{file} is not a text file. Choose QuPath GeoJSON or ASAP XML.") from err
    if not text:
        raise AnnotationError(f"The annotation file {file} is empty. Export the annotations once more.")
    parse = parse_asap if text.startswith("<") else parse_geojson
    with _collector_paused():
        return parse(text, file, offset_xy)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep Python from looking for circles in millions of new objects that have none: three times as fast."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()
