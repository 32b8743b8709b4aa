"""File > Open Sample: two generated slides, one with known lesions, one without."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .reader import LayerData


def lesion() -> list[LayerData]:
    """Open the sample slide with lesions, and their outlines.

    Returns
    -------
    list of layer data
        The slide and its annotation.
    """
    from ..annotations import read_annotations
    from ..samples import sample_file
    from .outline_layers import drawn_layer_data
    from .reader import read_slides

    layers = read_slides(str(sample_file("sample-lesion.tif")))
    slide = layers[0][1]["metadata"]["napari_mil"]["slide"]
    outlines = read_annotations(sample_file("sample-lesion.geojson"))
    layers.append(drawn_layer_data(outlines, slide.ref, "Lesions (annotation)"))
    return layers


def normal() -> list[LayerData]:
    """Open the sample slide without lesion.

    Returns
    -------
    list of layer data
        The slide.
    """
    from ..samples import sample_file
    from .reader import read_slides

    return read_slides(str(sample_file("sample-normal.tif")))
