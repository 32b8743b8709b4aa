"""A wheel installed elsewhere works: manifest, sample slides and demo models are found without the repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

FOUND = """
import json, sys, pathlib
import napari_mil
from npe2 import PluginManifest
from napari_mil.help_pages import help_folder, help_pages
from napari_mil.samples import demo_model_files, sample_file
manifest = PluginManifest.from_file(pathlib.Path(napari_mil.__file__).with_name("napari.yaml"))
print(json.dumps({
    "package": napari_mil.__file__,
    "display_name": manifest.display_name,
    "sample": str(sample_file("sample-lesion.tif")),
    "models": [path.name for path in demo_model_files()],
    "help": str(help_folder()),
    "pages": list(help_pages()),
}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_an_installed_wheel_finds_what_it_ships(installed: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FOUND],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found = json.loads(done.stdout)
    assert Path(found["package"]).is_relative_to(installed)
    assert Path(found["sample"]).is_relative_to(installed)
    assert found["display_name"] == "MIL"
    assert Path(found["help"]).is_relative_to(installed)
    assert {"Run", "Heatmap", "Annotate", "Keys"} <= set(found["pages"])
    assert found["models"] == ["demo-gated-attention.safetensors", "demo-mean.safetensors"]


def test_the_wheel_holds_what_the_hub_reads_and_nothing_else(installed: Path) -> None:
    [info] = installed.glob("*.dist-info")
    metadata = (info / "METADATA").read_text(encoding="utf-8")
    assert "Classifier: Framework :: napari" in metadata
    assert "[napari.manifest]\nnapari-mil = napari_mil:napari.yaml" in (info / "entry_points.txt").read_text()
    for forbidden in ("Requires-Dist: pyqt", "Requires-Dist: pyside", "napari[all]"):
        required = [line for line in metadata.lower().splitlines() if "extra ==" not in line]
        assert not [line for line in required if line.startswith(forbidden.lower())]
    assert {path.name for path in installed.iterdir()} == {"napari_mil", info.name}
    assert not list(installed.rglob("test_*.py"))
