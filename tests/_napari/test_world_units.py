"""Slides with and without scale in one window: no warning, no lost scale bar, and no unit that is not known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.utils.notifications import notification_manager

from napari_mil._napari.launch import add
from napari_mil._napari.layers import mpp_of
from napari_mil._napari.navigation import slide_layers
from napari_mil._napari.reader import read_slides
from napari_mil._napari.rescale import change_scale
from napari_mil._napari.session import attach


@pytest.fixture
def two(open_window, run_panel, small_slide: Path, tmp_path: Path) -> Any:
    """Return a window with a slide of known scale, its map and a drawing, and one whose file does not state any."""
    from PIL import Image

    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(90, 240, (900, 1100, 3), np.uint8)).save(tmp_path / "no scale.png")
    viewer, panel = open_window(small_slide)
    run_panel(panel)
    viewer.add_shapes([np.array([[9, 9], [30, 90], [70, 20]])], shape_type="polygon", units="um")
    notification_manager.records.clear()
    add(viewer, read_slides(str(tmp_path / "no scale.png"))[0])
    assert [mpp_of(layer) is None for layer in slide_layers(viewer)] == [False, True]
    return viewer


def units(viewer: Any) -> set[str]:
    """Return the units of all layers."""
    return {str(unit) for layer in viewer.layers for unit in layer.units}


def warned(viewer: Any) -> list[str]:
    """Draw, and return what napari said of units."""
    viewer.screenshot(flash=False)
    return [str(one.message) for one in notification_manager.records if "units" in str(one.message)]


def test_all_layers_are_in_the_unit_of_the_slide_in_front(two: Any) -> None:
    scaled, plain = slide_layers(two)
    places = {layer.name: (tuple(layer.scale), tuple(layer.translate)) for layer in two.layers}
    assert units(two) == {"pixel"}  # of the slide in front no length is known, and none is claimed
    assert warned(two) == []
    attach(two).bring_forward(scaled)
    assert units(two) == {"micrometer"}
    assert str(two.layers.extent.units[0]) == "micrometer"
    assert warned(two) == []
    attach(two).bring_forward(plain)
    assert units(two) == {"pixel"}
    scaled.visible = True  # both at once: still none is claimed
    assert units(two) == {"pixel"}
    plain.visible = False
    assert units(two) == {"micrometer"}
    assert warned(two) == []
    assert {layer.name: (tuple(layer.scale), tuple(layer.translate)) for layer in two.layers} == places


def test_layers_that_come_later_agree_and_a_slide_that_goes_takes_its_unit_along(two: Any) -> None:
    from napari_mil._napari.compare_pair import grid_layer
    from napari_mil._napari.overlay import overlay_of

    amap = next(one for one in map(overlay_of, two.layers) if one is not None).map
    two.add_layer(grid_layer(amap.grid, amap.view().values, amap.slide, name="later"))
    assert units(two) == {"pixel"}
    assert warned(two) == []
    two.layers.remove(slide_layers(two)[1])
    assert units(two) == {"micrometer"}
    assert warned(two) == []


def test_a_scale_given_later_makes_the_world_microns(two: Any) -> None:
    plain = slide_layers(two)[1]
    change_scale(two, plain, (0.25, 0.25))
    assert units(two) == {"micrometer"}
    change_scale(two, plain, None)
    assert units(two) == {"pixel"}
    assert warned(two) == []


def test_pictures_of_which_nobody_said_a_unit_cost_the_slide_none(two: Any) -> None:
    attach(two).bring_forward(slide_layers(two)[0])
    two.add_image(np.zeros((8, 8)), name="another plugin's", translate=(3, 4))
    two.add_image(np.zeros((2, 8, 8)), name="its stack")
    assert units(two) == {"micrometer"}
    assert warned(two) == []
    assert tuple(two.layers["another plugin's"].translate) == (3, 4)


def test_other_pictures_keep_their_units(two: Any) -> None:
    other = two.add_image(np.zeros((8, 8)), name="somebody's", units="nm")
    attach(two).bring_forward(slide_layers(two)[0])
    assert [str(unit) for unit in other.units] == ["nanometer", "nanometer"]
