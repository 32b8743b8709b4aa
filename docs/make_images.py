"""Make the pictures of README and docs from the sample slides, in the real window.

``make docs-images``. Starts a virtual screen where there is no display.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks._window import ROOT, need_display, pump, wait

IMAGES = ROOT / "docs" / "images"


def main() -> None:
    """Open the sample slide, run the demo model, and take a picture of each step."""
    need_display("docs.make_images")
    IMAGES.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as name:
        os.environ["NAPARI_MIL_MODELS"] = str(Path(name) / "models")
        os.environ["NAPARI_MIL_FEATURES"] = str(Path(name) / "features")
        os.environ["NAPARI_MIL_CONFIG"] = str(Path(name) / "config")
        figure(Path(name))
        window()
        training(Path(name))
    for path in sorted(IMAGES.iterdir()):
        print(path.relative_to(ROOT), f"{path.stat().st_size // 1024} KiB")


def figure(folder: Path) -> None:
    """Make the figure that a headless run leaves."""
    from napari_mil import run
    from napari_mil.samples import DEMO_MODELS, sample_file

    out = folder / "out"
    run(sample_file("sample-lesion.tif"), model=sample_file(DEMO_MODELS[0]), out=out, device="cpu", top_k=8)
    save(out / "heatmap.png", "heatmap.png", width=1000)


def window() -> None:
    """Show the window before a run, with the map, above a threshold, contributions, and what judges the map."""
    import napari

    from napari_mil._napari.launch import add, show_panel
    from napari_mil._napari.samples import lesion

    viewer = napari.Viewer(title="napari-mil", show=True)
    viewer.window.resize(1366, 768)
    slide, annotation = (add(viewer, data) for data in lesion())
    annotation.visible = False
    viewer.layers.selection.active = slide
    panel = show_panel(viewer)
    wait(0.5)
    viewer.reset_view()
    pump(lambda: len(panel.run_tab.device.choices) == 4)
    panel.tour.end()
    shoot(viewer, "run.png")
    panel.run_tab.run.click()
    pump(lambda: not panel.running)
    wait(1.0)
    shoot(viewer, "map.png")
    tab = panel.heatmap_tab
    tab.threshold.slider.setValue(850)
    annotation.visible = True
    shoot(viewer, "threshold.png")
    tab.threshold.slider.setValue(0)
    tab.score.choose("contribution")
    shoot(viewer, "contribution.png")
    look_through(viewer)
    hold_against(viewer, panel)
    compare(viewer, panel)
    viewer.close()


def look_through(viewer: Any) -> None:
    """Show the gallery, two of its patches ticked, and close it."""
    from napari_mil._napari.launch import show_gallery

    gallery = show_gallery(viewer)
    wait(0.5)
    pump(lambda: not gallery.waiting)
    gallery.step(1)
    gallery.model.tick([0, 2], True)
    gallery.model.tag([2], "artefact", True)
    shoot(viewer, "gallery.png")
    gallery.parent().hide()
    viewer.reset_view()


def hold_against(viewer: Any, panel: Any) -> None:
    """Show the measures of the map against the sample's outlines, in the light theme."""
    panel.heatmap_tab.score.choose("attention")
    panel.heatmap_tab.threshold.slider.setValue(850)
    panel.tabs.setCurrentWidget(panel.annotate_tab)
    pump(lambda: not panel.annotate_tab.measuring)
    viewer.theme = "light"
    shoot(viewer, "annotate.png")
    viewer.theme = "dark"


def compare(viewer: Any, panel: Any) -> None:
    """Show two poolings with a divider between them, and side by side."""
    panel.tabs.setCurrentWidget(panel.compare_tab)
    tab = panel.compare_tab
    tab.fields.poolings.click()
    pump(lambda: not tab.runs.going and tab.comparison is not None)
    tab.fields.mode.choose("swipe")
    shoot(viewer, "compare.png")
    tab.fields.mode.choose("off")
    tab.show_side_by_side()
    tab.window_of_views.resize(1200, 640)
    wait(3.0)
    path = IMAGES / "side-by-side.png"
    tab.window_of_views.grab().save(str(path))
    save(path, path.name)
    tab.window_of_views.close()


def training(folder: Path) -> None:
    """Show the Train panel before a training and at its end, on generated slides."""
    import csv

    import napari

    from napari_mil.cohort import extract_slides
    from napari_mil.progress import finish
    from sample_data import make_cohort

    table = make_cohort(folder / "study", 16, seed=11, size=(1200, 1600))
    with table.open(newline="", encoding="utf-8") as file:
        slides = [table.parent / row["slide"] for row in csv.DictReader(file)]
    finish(extract_slides(slides, table.parent / "features", encoder="colour-texture"))
    os.chdir(folder)  # so that the pictures show short paths
    viewer = napari.Viewer(title="napari-mil", show=True)
    viewer.window.resize(1366, 768)
    _, panel = viewer.window.add_plugin_dock_widget("napari-mil", "Train a model")
    form = panel.form
    pump(lambda: len(form.more.device.choices) == 4)
    form.table.show_path(Path("study/cohort.csv"))
    form.more.folds.setValue(3)
    form.more.epochs.setValue(40)
    form.more.device.choose("cpu")
    pump(lambda: not form.looking)
    shoot(viewer, "train-setup.png")
    panel.train.click()
    pump(lambda: not panel.running)
    shoot(viewer, "train-done.png")
    viewer.close()


def shoot(viewer: object, name: str) -> None:
    """Take a picture of the whole window."""
    wait(1.0)
    path = IMAGES / name
    viewer.window.screenshot(str(path), canvas_only=False, flash=False)  # type: ignore[attr-defined]
    save(path, name)


def save(source: Path, name: str, width: int | None = None) -> None:
    """Keep a picture, no wider than it is shown."""
    from PIL import Image

    with Image.open(source) as picture:
        rgb = picture.convert("RGB")
    if width and rgb.width > width:
        rgb = rgb.resize((width, round(rgb.height * width / rgb.width)), Image.Resampling.LANCZOS)
    rgb.save(IMAGES / name, optimize=True)


if __name__ == "__main__":
    main()
