"""Lesion outlines as the GeoJSON that QuPath reads and writes."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

TUMOUR_RGB = (200, 0, 0)
_NAMESPACE = uuid.UUID("5d0a3f9c-6f0e-5b57-9f5d-3c1f5d7a2b11")


def write_geojson(path: Path, outlines_rc: Sequence[NDArray[np.float64]], slide: str) -> Path:
    """Write closed outlines as QuPath annotations of class Tumor.

    Parameters
    ----------
    path : Path
        File to write.
    outlines_rc : sequence of (P, 2) float64
        Vertices (row, col) in level-0 pixels, pixel edges on whole numbers as in QuPath; the file holds (x, y).
    slide : str
        Name of the slide; with the position in the list it makes the identifiers, which are the same every time.
    """
    features = [
        {
            "type": "Feature",
            "id": str(uuid.uuid5(_NAMESPACE, f"{slide}/{index}")),
            "geometry": {"type": "Polygon", "coordinates": [_ring_xy(outline)]},
            "properties": {
                "objectType": "annotation",
                "name": f"Lesion {index + 1}",
                "classification": {"name": "Tumor", "color": list(TUMOUR_RGB)},
            },
        }
        for index, outline in enumerate(outlines_rc)
    ]
    collection = {"type": "FeatureCollection", "features": features}
    path.write_text(json.dumps(collection, separators=(",", ":")) + "\n", encoding="utf-8")
    return path


def _ring_xy(outline_rc: NDArray[np.float64]) -> list[list[float]]:
    ring = [[round(float(col), 2), round(float(row), 2)] for row, col in outline_rc]
    return ring if ring[0] == ring[-1] else [*ring, ring[0]]
