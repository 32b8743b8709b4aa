"""The house keeps its floors: who may import whom, and what stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "napari_mil"
FLOORS = [
    {"errors"},
    {"progress", "files", "samples", "triton_guard", "preferences", "hub", "counting"},
    {"slides"},
    {"tiling"},
    {"features"},
    {"models"},
    {"training"},
    {"maps"},
    {"annotations"},
    {"evaluation"},
    {"export"},
    {"results", "work", "work_file", "help_pages"},
    {"given", "kept_features"},
    {"pipeline"},
    {"cohort", "describe", "describe_features", "describe_evaluation", "describe_training", "encoder_list", "console"},
    {"_napari"},
    {"cli", "demo"},
]
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
QT_ROOM = {"napari", "qtpy", "magicgui", "superqt", "PyQt6", "PySide6", "PyQt5", "vispy"}


def modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported(path: Path) -> list[str]:
    """Return absolute names of all modules that a file imports, whether at the top or inside a function."""
    parts = ["napari_mil", *path.relative_to(PACKAGE).parts[:-1]]
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = parts[: len(parts) - node.level + 1] if node.level else []
            module = [*base, *(node.module.split(".") if node.module else [])]
            if len(module) == 1 and node.level:
                names += [".".join([*module, alias.name]) for alias in node.names]
            else:
                names.append(".".join(module))
    return names


def test_every_room_has_a_floor() -> None:
    assert {room_of(path) for path in modules()} == set(LEVEL)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_only_from_floors_below(path: Path) -> None:
    room = room_of(path)
    for name in imported(path):
        parts = name.split(".")
        if parts[0] in QT_ROOM:
            assert room == "_napari", f"{path.name} imports {name}; only _napari/ may"
        if parts[0] == "napari_mil" and len(parts) > 1 and parts[1] in LEVEL and parts[1] != room:
            assert LEVEL[parts[1]] <= LEVEL[room], f"{path.name} ({room}) imports {name} from a floor above"


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(' '.join(sorted({{m.split('.')[0] for m in sys.modules}})))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(out.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import napari_mil",
        "import napari_mil.slides, napari_mil.tiling, napari_mil.features, napari_mil.models, napari_mil.maps",
        "import napari_mil.training, napari_mil.annotations, napari_mil.export, napari_mil._napari",
        "import napari_mil.evaluation",
        "import napari_mil.cli",
    ],
)
def test_importing_rooms_stays_light(statement: str) -> None:
    heavy = {"torch", "openslide", "dask", "napari", "qtpy", "pandas", "matplotlib", "skimage", "sklearn", "h5py"}
    assert not loaded_by(statement) & heavy


def test_reading_the_manifest_stays_light() -> None:
    statement = (
        "from npe2 import PluginManifest; m = PluginManifest.from_distribution('napari-mil'); "
        "assert m.display_name == 'MIL'"
    )
    assert not loaded_by(statement) & {"torch", "openslide", "dask", "h5py", "napari_mil._napari"}


def test_public_names_are_there() -> None:
    import napari_mil as nm

    for name in nm.__all__:
        assert getattr(nm, name) is not None
    promised = (
        "open_slide find_tissue tile load_encoder extract iter_extract read_features write_features create_model "
        "load_model save_model attention_map read_map run iter_run"
    )
    assert set(promised.split()) <= set(nm.__all__)
