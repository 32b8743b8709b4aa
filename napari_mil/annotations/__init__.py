"""Annotations: read and write outlines that people drew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader as _lazy

if TYPE_CHECKING:
    from ._annotation import Annotation as Annotation
    from ._geojson import write_geojson as write_geojson
    from ._labels import PatchLabels as PatchLabels
    from ._labels import label_patches as label_patches
    from ._labels import overlap_fraction as overlap_fraction
    from ._labels import tile_labels as tile_labels
    from ._on_slide import class_counts as class_counts
    from ._on_slide import outlines_on_slide as outlines_on_slide
    from ._read import read_annotations as read_annotations
    from ._roles import Roles as Roles
    from ._roles import roles_of as roles_of
    from ._roles import suggest_roles as suggest_roles
    from ._roles import target_area as target_area
    from ._shapes import label_annotations as label_annotations
    from ._shapes import shape_annotations as shape_annotations
    from ._tissue import outlines_for as outlines_for
    from ._tissue import read_tissue as read_tissue
    from ._tissue import resolve_tissue as resolve_tissue
    from ._tissue import tissue_within as tissue_within
    from ._tissue import write_tissue as write_tissue

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "_annotation": ["Annotation"],
        "_geojson": ["write_geojson"],
        "_labels": ["PatchLabels", "label_patches", "overlap_fraction", "tile_labels"],
        "_on_slide": ["class_counts", "outlines_on_slide"],
        "_read": ["read_annotations"],
        "_roles": ["Roles", "roles_of", "suggest_roles", "target_area"],
        "_shapes": ["label_annotations", "shape_annotations"],
        "_tissue": ["outlines_for", "read_tissue", "resolve_tissue", "tissue_within", "write_tissue"],
    },
)
