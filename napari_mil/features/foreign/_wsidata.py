"""wsidata's and LazySlide's folders: SpatialData in zarr, tiles as boxes in GeoParquet, features as AnnData tables.

``shapes/<tiles>/shapes.parquet`` holds each tile's box in level-0 pixels; ``tables/<encoder>_<tiles>`` a matrix ``X``
whose rows name their tile (``obs/tile_id``) and whose attribute ``region`` names the tiles. SpatialData allows few
characters in the name of a table, so the encoder's true name is our attribute ``napari_mil``. The folder's attributes
``tile_spec`` and ``slide_properties`` say sizes and scale. Parquet and zarr are read and written by their libraries;
the layouts between them (SpatialData 0.2 tables and 0.3 shapes, AnnData 0.1.0) are laid out here, since the libraries
of those names bring the whole of scverse and an older pandas.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from ...errors import FeaturesError
from ...files import cannot_write
from .._features import Features
from .._store import positive_number
from ._checks import Given, check_place, reading
from ._detect import wsidata_store, zarr_attributes
from ._found import Found, assemble

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

_TILES, _INSTANCE, _REGION = "tiles", "tile_id", "library_id"
_OURS = "napari_mil"
_NOT_IN_A_NAME = re.compile("^__|[^A-Za-z0-9_.-]")
"""What SpatialData refuses in the name of a table."""


def read(path: Path, given: Given) -> Features:
    """Read one table of features of a wsidata folder.

    Parameters
    ----------
    path : Path
        The folder, where it has one table of features; else ``folder/tables/<table>``.
    given : Given
        What is known besides.

    Returns
    -------
    Features
        Tiles without features are left out.
    """
    zarr, parquet = _libraries(path)
    store = wsidata_store(path) or path
    table = path if path != store else _only_table(store)
    with reading(table):
        attributes = zarr_attributes(store)
        key = _tiles_of(table)
        ids, boxes = _boxes(parquet, store / "shapes" / key / "shapes.parquet")
        values, rows = _rows(zarr, table, ids)
        spec, properties = attributes.get("tile_spec", {}).get(key, {}), attributes.get("slide_properties", {})
        tile_px, mpp = positive_number(spec, "width"), positive_number(spec, "mpp")
        stride, shape = positive_number(spec, "stride_width"), properties.get("shape")
        found = Found(
            values,
            boxes[rows, :2],
            store.stem,
            encoder=_encoder_of(table, key),
            tile_l0=_edge(boxes),
            tile_px=None if tile_px is None else int(tile_px),
            tile_um=None if tile_px is None or mpp is None else tile_px * mpp,
            mpp=mpp,
            stride=None if tile_px is None or stride is None else stride / tile_px,
            slide_mpp=positive_number(properties, "mpp"),
            shape=None if shape is None else (int(shape[0]), int(shape[1])),
        )
    features = assemble(found, given, table)
    check_place(features, given, found.shape, table)
    return features


def files_of(path: Path) -> tuple[Path, ...]:
    """Return the files that `write` writes."""
    return (path,)


def write(path: Path, features: Features) -> tuple[Path, ...]:
    """Write a folder that wsidata and SpatialData open: tiles, one table of features, sizes and scale.

    Parameters
    ----------
    path : Path
        The folder; it must not be there yet.
    features : Features
        What to write.

    Returns
    -------
    tuple of Path
        The folder.
    """
    zarr, parquet = _libraries(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", suffix=f"-{path.name}", dir=path.parent))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zarr's, on text arrays, which AnnData uses all the same
            _fill(zarr.open_group(partial, mode="w", zarr_format=3), features)
        _write_boxes(parquet, partial / "shapes" / _TILES / "shapes.parquet", features)
        partial.chmod(0o755)
        partial.rename(path)
    except OSError as err:
        raise FeaturesError(cannot_write(path, err)) from err
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return (path,)


def _libraries(path: Path) -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow.parquet as parquet
        import zarr
    except ImportError as err:
        raise FeaturesError(
            f"A wsidata folder such as {path} needs the packages zarr and pyarrow. "
            "Run: pip install 'napari-mil[wsidata]'"
        ) from err
    return zarr, parquet


def _only_table(store: Path) -> Path:
    tables = sorted(folder for folder in (store / "tables").glob("*") if _tiles_of(folder))
    if len(tables) == 1:
        return tables[0]
    if not tables:
        raise FeaturesError(f"{store} has no table of features of tiles. Extract features with LazySlide first.")
    names = ", ".join(table.name for table in tables)
    raise FeaturesError(
        f"{store} has {len(tables)} tables of features: {names}. Give one of them, such as {tables[0]}."
    )


def _tiles_of(table: Path) -> str:
    """Return which tiles a table is of; empty where it is no such table."""
    region = zarr_attributes(table).get("region") or ""
    return str(region[0]) if isinstance(region, list) else str(region)


def _encoder_of(table: Path, tiles: str) -> str:
    """Return the true name of a table's encoder where we wrote the table, else what the table's own name says."""
    ours = zarr_attributes(table).get(_OURS)
    if isinstance(ours, dict) and isinstance(ours.get("encoder"), str):
        return str(ours["encoder"])
    return table.name.removesuffix(f"_{tiles}")


def _boxes(parquet: ModuleType, file: Path) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the tiles' numbers and boxes (x0, y0, x1, y1) in level-0 pixels."""
    columns = parquet.read_table(file)
    boxes: NDArray[np.float64] = shapely.bounds(
        shapely.from_wkb(columns.column("geometry").to_numpy(zero_copy_only=False))
    )
    known = _INSTANCE in columns.column_names
    ids = columns.column(_INSTANCE).to_numpy() if known else np.arange(len(boxes))
    return ids.astype(np.int64), boxes.reshape(-1, 4)


def _rows(zarr: ModuleType, table: Path, ids: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Return a table's features, and for each row the place of its tile among ``ids``."""
    group = zarr.open_group(table, mode="r")
    matrix = group["X"]
    if not hasattr(matrix, "shape"):
        raise ValueError("its features are a sparse matrix")
    values = matrix[:].astype(np.float32, copy=False)
    key = str(group.attrs.get("instance_key", _INSTANCE))
    wanted = group["obs"][key][:].astype(np.int64)
    order = np.argsort(ids)
    rows = order[np.clip(np.searchsorted(ids, wanted, sorter=order), 0, max(len(ids) - 1, 0))] if len(ids) else order
    if len(wanted) != len(values) or len(rows) != len(wanted) or not np.array_equal(ids[rows], wanted):
        raise ValueError("its rows name tiles that are not there")
    return values, rows


def _edge(boxes: NDArray[np.float64]) -> float | None:
    """Return the edge of the tiles in level-0 pixels; None where there are no tiles."""
    if len(boxes) == 0:
        return None
    edges = boxes[:, 2:] - boxes[:, :2]
    if np.ptp(edges) > 1e-3:
        raise ValueError(f"its tiles are {edges.min():g} to {edges.max():g} pixels wide and high, not square and alike")
    return float(np.median(edges))


def _write_boxes(parquet: ModuleType, file: Path, features: Features) -> None:
    import pyarrow as pa

    rows, cols = features.grid.l0_rc.T
    edge = features.grid.tile_l0
    columns = {
        _INSTANCE: np.arange(len(rows)),
        "x": cols,
        "y": rows,
        "tissue_id": np.zeros(len(rows), np.int64),
        "geometry": pa.array(shapely.to_wkb(shapely.box(cols, rows, cols + edge, rows + edge)), pa.binary()),
    }
    geometry = {"encoding": "WKB", "crs": None, "geometry_types": ["Polygon"]}
    geo = {"version": "1.0.0", "primary_column": "geometry", "columns": {"geometry": geometry}}
    parquet.write_table(pa.table(columns).replace_schema_metadata({"geo": json.dumps(geo)}), file)


def _fill(root: Any, features: Features) -> None:
    grid, slide = features.grid, features.slide
    spec = {
        **dict.fromkeys(("height", "width"), grid.tile_px),
        **dict.fromkeys(("stride_height", "stride_width"), round(grid.tile_px * grid.stride_l0 / grid.tile_l0)),
        "mpp": grid.mpp,
        **dict.fromkeys(("ops_level", "base_level"), 0),
        **dict.fromkeys(("ops_downsample", "base_downsample"), grid.tile_l0 / grid.tile_px),
        "tissue_name": None,
    }
    um_per_px = grid.tile_um / grid.tile_l0 if slide.mpp is None else sum(slide.mpp) / 2
    root.attrs.update(
        {
            "spatialdata_attrs": {"version": "0.2"},
            "slide_properties": {"shape": list(slide.shape), "mpp": um_per_px},
            "tile_spec": {_TILES: spec},
        }
    )
    axes = [{"name": name, "type": "space", "unit": "unit"} for name in "xy"]
    identity = {
        "type": "identity",
        "input": {"name": "xy", "axes": axes},
        "output": {"name": "global", "axes": axes},
    }
    root.create_group(f"shapes/{_TILES}").attrs.update(
        {
            "encoding-type": "ngff:shapes",
            "axes": ["x", "y"],
            "coordinateTransformations": [identity],
            "spatialdata_attrs": {"version": "0.3"},
        }
    )
    name = _NOT_IN_A_NAME.sub("-", features.encoder.name) or "features"
    table = root.create_group(f"tables/{name}_{_TILES}")
    _fill_table(table, np.asarray(features.values, np.float32))
    table.attrs[_OURS] = {"encoder": features.encoder.name}


def _fill_table(table: Any, values: NDArray[np.float32]) -> None:
    """Lay out an AnnData table whose rows are tiles 0 to N - 1."""
    keys = {"region": _TILES, "region_key": _REGION, "instance_key": _INSTANCE}
    table.attrs.update(
        {
            **_encoding("anndata", "0.1.0"),
            "spatialdata-encoding-type": "ngff:regions_table",
            **keys,
            "version": "0.2",
        }
    )
    for name in ("layers", "obsm", "obsp", "varm", "varp", "uns", "uns/spatialdata_attrs"):
        table.create_group(name).attrs.update(_encoding("dict", "0.1.0"))
    for name, value in keys.items():
        _put(table, f"uns/spatialdata_attrs/{name}", np.array(value, np.dtypes.StringDType()), "string")
    _put(table, "X", values, "array")
    for frame, count, columns in (("obs", values.shape[0], [_INSTANCE, _REGION]), ("var", values.shape[1], [])):
        table.create_group(frame).attrs.update({**_encoding("dataframe"), "column-order": columns, "_index": "_index"})
        names = np.arange(count).astype(str).astype(np.dtypes.StringDType())
        _put(table, f"{frame}/_index", names, "string-array")
    _put(table, f"obs/{_INSTANCE}", np.arange(len(values)), "array")
    category = table.create_group(f"obs/{_REGION}")
    category.attrs.update({**_encoding("categorical"), "ordered": False})
    _put(category, "codes", np.zeros(len(values), np.int8), "array")
    _put(category, "categories", np.array([_TILES], np.dtypes.StringDType()), "string-array")


def _put(group: Any, name: str, data: NDArray[Any], kind: str) -> None:
    group.create_array(name, data=data).attrs.update(_encoding(kind))


def _encoding(kind: str, version: str = "0.2.0") -> dict[str, str]:
    return {"encoding-type": kind, "encoding-version": version}
