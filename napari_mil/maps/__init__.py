"""Maps: raw scores per tile and the honest ways to look at them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader as _lazy

if TYPE_CHECKING:
    from ._agreement import COMPARED_SHARE as COMPARED_SHARE
    from ._agreement import COMPARED_TOP_K as COMPARED_TOP_K
    from ._agreement import Agreement as Agreement
    from ._agreement import agreement as agreement
    from ._agreement import overlap_by_chance as overlap_by_chance
    from ._agreement import spearman as spearman
    from ._colours import colours as colours
    from ._common_views import common_views as common_views
    from ._common_views import same_limits as same_limits
    from ._compare import MapComparison as MapComparison
    from ._compare import MapFacts as MapFacts
    from ._compare import check_one_slide as check_one_slide
    from ._compare import compare_maps as compare_maps
    from ._compare import map_names as map_names
    from ._compared_cut import MapCut as MapCut
    from ._compared_cut import MapCutBy as MapCutBy
    from ._difference import Difference as Difference
    from ._difference import DifferenceBy as DifferenceBy
    from ._difference import difference as difference
    from ._finder import PatchFinder as PatchFinder
    from ._hot_spots import HotSpot as HotSpot
    from ._hot_spots import hot_spots as hot_spots
    from ._infer import FURTHER_SCORES as FURTHER_SCORES
    from ._infer import attention_map as attention_map
    from ._infer import ensemble_map as ensemble_map
    from ._infer import iter_attention_map as iter_attention_map
    from ._infer import iter_ensemble_map as iter_ensemble_map
    from ._legend import DISCLAIMER as DISCLAIMER
    from ._legend import evenness_words as evenness_words
    from ._legend import format_area as format_area
    from ._legend import format_areas as format_areas
    from ._legend import format_probability as format_probability
    from ._legend import format_share as format_share
    from ._legend import format_threshold as format_threshold
    from ._legend import legend_text as legend_text
    from ._legend import patch_words as patch_words
    from ._legend import patches_sentence as patches_sentence
    from ._legend import view_legend as view_legend
    from ._limits import COLOUR_PERCENTILE as COLOUR_PERCENTILE
    from ._limits import colour_end as colour_end
    from ._limits import limits_words as limits_words
    from ._live import LiveMap as LiveMap
    from ._live import ProvisionalMap as ProvisionalMap
    from ._live import interest as interest
    from ._map import AttentionMap as AttentionMap
    from ._map import MapScore as MapScore
    from ._map import MapView as MapView
    from ._map import Prediction as Prediction
    from ._map import Provenance as Provenance
    from ._map import Spread as Spread
    from ._members import check_members as check_members
    from ._outline import outline as outline
    from ._places import Places as Places
    from ._places import match_places as match_places
    from ._raster import Painter as Painter
    from ._raster import Raster as Raster
    from ._raster import paint as paint
    from ._scales import COLOURMAPS as COLOURMAPS
    from ._scales import KIND_LABELS as KIND_LABELS
    from ._scales import KIND_TITLES as KIND_TITLES
    from ._scales import SCALES as SCALES
    from ._scales import SCALES_FOR_KIND as SCALES_FOR_KIND
    from ._scales import Scale as Scale
    from ._scales import scale_after as scale_after
    from ._scales import score_label as score_label
    from ._scales import score_title as score_title
    from ._shown import class_evidence as class_evidence
    from ._shown import class_log_odds as class_log_odds
    from ._shown import one_class as one_class
    from ._shown import ranks as ranks
    from ._shown import shown as shown
    from ._smooth import enlarged as enlarged
    from ._smooth import smoothed as smoothed
    from ._smooth import smoothing_factor as smoothing_factor
    from ._spaced import spaced_patches as spaced_patches
    from ._store import read_map as read_map
    from ._store import read_shown as read_shown
    from ._store import write_map as write_map
    from ._tags import PatchMark as PatchMark
    from ._tags import PatchPlace as PatchPlace
    from ._tags import PatchTags as PatchTags
    from ._tags import read_tags as read_tags
    from ._threshold import CutBy as CutBy
    from ._threshold import Cuts as Cuts
    from ._threshold import ThresholdSummary as ThresholdSummary
    from ._threshold import above as above
    from ._threshold import effective_patches as effective_patches
    from ._threshold import normalised_entropy as normalised_entropy
    from ._threshold import summarise as summarise

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "_agreement": ["COMPARED_SHARE", "COMPARED_TOP_K", "Agreement", "agreement", "overlap_by_chance", "spearman"],
        "_colours": ["colours"],
        "_common_views": ["common_views", "same_limits"],
        "_compare": ["MapComparison", "MapFacts", "check_one_slide", "compare_maps", "map_names"],
        "_compared_cut": ["MapCut", "MapCutBy"],
        "_difference": ["Difference", "DifferenceBy", "difference"],
        "_finder": ["PatchFinder"],
        "_hot_spots": ["HotSpot", "hot_spots"],
        "_infer": ["FURTHER_SCORES", "attention_map", "ensemble_map", "iter_attention_map", "iter_ensemble_map"],
        "_legend": [
            "DISCLAIMER",
            "evenness_words",
            "format_area",
            "format_areas",
            "format_probability",
            "format_share",
            "format_threshold",
            "legend_text",
            "patch_words",
            "patches_sentence",
            "view_legend",
        ],
        "_limits": ["COLOUR_PERCENTILE", "colour_end", "limits_words"],
        "_live": ["LiveMap", "ProvisionalMap", "interest"],
        "_map": ["AttentionMap", "MapScore", "MapView", "Prediction", "Provenance", "Spread"],
        "_members": ["check_members"],
        "_outline": ["outline"],
        "_places": ["Places", "match_places"],
        "_raster": ["Painter", "Raster", "paint"],
        "_scales": [
            "COLOURMAPS",
            "KIND_LABELS",
            "KIND_TITLES",
            "SCALES",
            "SCALES_FOR_KIND",
            "scale_after",
            "Scale",
            "score_label",
            "score_title",
        ],
        "_shown": ["class_evidence", "class_log_odds", "one_class", "ranks", "shown"],
        "_smooth": ["enlarged", "smoothed", "smoothing_factor"],
        "_spaced": ["spaced_patches"],
        "_store": ["read_map", "read_shown", "write_map"],
        "_tags": ["PatchMark", "PatchPlace", "PatchTags", "read_tags"],
        "_threshold": [
            "CutBy",
            "Cuts",
            "ThresholdSummary",
            "above",
            "effective_patches",
            "normalised_entropy",
            "summarise",
        ],
    },
)
