"""A real window with a slide and the panel."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import napari

    from napari_mil._napari.widgets.panel import MILPanel

Opened = tuple["napari.Viewer", "MILPanel"]


@pytest.fixture(autouse=True)
def _libraries_out_of_the_collectors_way() -> None:
    """Keep what libraries hold for ever from being looked through whenever napari collects garbage.

    It does so at every layer that goes, and some four times a window: a third of a second each. Once is enough, but
    for a run, at whose end nothing is kept out of the way any more.
    """
    import napari._qt.qt_main_window  # noqa: F401
    import torch  # noqa: F401

    if not gc.get_freeze_count():
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _all_is_looked_through_in_the_end() -> Iterator[None]:
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def sparse_slide(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that puts a sparse pyramid at a path of the test's own; each kind is painted once."""
    from sample_data import write_sparse_pyramid

    folder = tmp_path_factory.mktemp("sparse")
    painted: dict[object, Path] = {}

    def put(path: Path, shape: tuple[int, int], mpp: float, levels: int | None = None) -> Path:
        kind = shape, mpp, levels
        if kind not in painted:
            painted[kind] = write_sparse_pyramid(folder / f"{len(painted)}.tif", shape, mpp, levels=levels)
        return shutil.copy(painted[kind], path)

    return put


@pytest.fixture
def open_window(
    make_napari_viewer: Callable[..., napari.Viewer], qtbot: object, own_folders: Path, untrained_model: Path
) -> Callable[[Path], Opened]:
    """Return a function that opens a slide in a shown window with the MIL panel and one model at hand."""
    shutil.copy(untrained_model, own_folders / "models" / "untrained.safetensors")

    def opened(slide: Path) -> Opened:
        from napari_mil._napari.launch import add, show_panel
        from napari_mil._napari.reader import read_slides

        viewer = make_napari_viewer(show=True)
        viewer.window.resize(1366, 768)
        for layer_data in read_slides(str(slide)):
            add(viewer, layer_data)
        panel = show_panel(viewer)
        qtbot.waitUntil(lambda: len(panel.run_tab.device.choices) == 4, timeout=60_000)  # type: ignore[attr-defined]
        panel.run_tab.model.choose(own_folders / "models" / "untrained.safetensors")
        return viewer, panel

    return opened


def run_to_end(qtbot: object, panel: MILPanel, timeout: int = 60_000) -> None:
    panel.run_tab.run.click()
    assert panel.running
    qtbot.waitUntil(lambda: not panel.running, timeout=timeout)  # type: ignore[attr-defined]


@pytest.fixture
def run_panel(qtbot: object) -> Callable[[MILPanel], None]:
    """Return a function that presses Run and waits for the end."""
    return lambda panel: run_to_end(qtbot, panel)
