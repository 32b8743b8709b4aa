"""One page per slide that opens anywhere: what the model said, where it looked, and what that is not."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ..counting import agreed, counted
from ..errors import ExportError
from ..files import replacing
from ..maps import (
    DISCLAIMER,
    evenness_words,
    format_area,
    format_areas,
    format_probability,
    limits_words,
    summarise,
)
from ..models import card_details, card_summary
from ..progress import Pacer, Progress, Steps
from ._display import Display
from ._geojson import shown_hot_spots
from ._page import bullets, embedded, page, picture, section, table
from ._patches import read_field, top_tiles
from ._picture import (
    add_axes,
    draw_bar,
    draw_overlay,
    draw_slide,
    fills_slide,
    l0_mpp_yx,
    patch_value,
    patch_value_words,
    read_window,
    rendered,
    tissue_window,
    whole_slide,
)
from ._scale_bar import SCALE_BAR_HEIGHT, draw_scale_bar, format_length

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..maps import AttentionMap, MapView
    from ..slides import Slide
    from ._picture import Window

_MAP_PX, _SLIDE_PX, _PATCH_PX = 1500, 700, 256
_LONGEST_IN = 10.0
_MOST_SPOTS = 10
_PER_ROW = 6
_MOST_PATCHES = 60

_IS_NOT = (
    "Not a diagnosis, and not a second reading: it has no place in a decision about a patient unless the model was "
    "approved for that purpose.",
    "Not proof: attention says which patches the model weighed, not why, nor whether it was right.",
    "Not complete: what lies outside the patches was never looked at, and each slide is taken by itself.",
    "Not a measurement of disease: areas are those of patches on one side of a threshold that a person chose.",
)


@dataclass(frozen=True, slots=True, eq=False)
class _Subject:
    """What the page is about."""

    slide: Slide
    amap: AttentionMap
    view: MapView
    display: Display
    tags: Mapping[int, Sequence[str]]


def write_report(
    path: str | os.PathLike[str],
    slide: Slide,
    amap: AttentionMap,
    *,
    display: Display | None = None,
    k: int = 12,
    tags: Mapping[int, Sequence[str]] | None = None,
) -> Steps[Path]:
    """Write one HTML page with everything in it: no script, no other file, no network; yield Progress.

    The slide, what the model says of it, the map with its legend, the highest patches, what lies above the threshold
    with its hot spots, the model's card, what the page is not, and with what it was made. The slide's label is never
    shown, nor the folder that the slide lies in.

    Parameters
    ----------
    path : path
        Where.
    slide : Slide
        The map's slide, open.
    amap : AttentionMap
        The map.
    display : Display or None
        How it is shown; None as at first in the window.
    k : int
        How many patches, at most 60; all if there are fewer.
    tags : mapping of int to sequence of str, optional
        What people said of patches, by position in the grid.

    Yields
    ------
    Progress
        At most about ten a second.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ExportError
        If the disk refuses.
    MapError
        As in `AttentionMap.view`.
    SlideError
        If the slide cannot be read.
    """
    if not 0 <= k <= _MOST_PATCHES:
        raise ValueError(f"k must be 0 to {_MOST_PATCHES}, not {k}")
    shown = display or Display()
    subject = _Subject(slide, amap, shown.view(amap), shown, tags or {})
    yield Progress("Drawing the report")
    parts = [_head(subject), _prediction(subject), _slide_part(subject), _map_part(subject)]
    parts.append((yield from _patches_part(subject, k)))
    parts += [_threshold_part(subject), _model_part(amap), _is_not_part(), _provenance(subject)]
    target = Path(path)
    with replacing(target, ExportError) as partial:
        partial.write_text(page(Path(amap.slide.path).name, parts), encoding="utf-8")
    return target


def _head(subject: _Subject) -> str:
    amap = subject.amap
    title = amap.model.title or amap.model.pooling
    return (
        f"<header><h1>{escape(Path(amap.slide.path).name)}</h1><p>{escape(title)}</p>"
        f'<p class="not"><strong>Not a diagnosis.</strong> A map shows {escape(DISCLAIMER)}.</p></header>\n'
    )


def _prediction(subject: _Subject) -> str:
    prediction = subject.amap.prediction
    spread = prediction.spread
    rows = [
        (name, format_probability(float(p)), "" if spread is None else f"± {float(spread.probabilities[i]):.1%}")
        for i, (name, p) in enumerate(zip(prediction.class_names, prediction.probabilities, strict=True))
    ]
    rows.sort(key=lambda row: -float(prediction.probabilities[prediction.class_names.index(row[0])]))
    header = ["Class", "Probability"]
    if spread is None:
        rows = [row[:2] for row in rows]  # type: ignore[misc]
    else:
        header.append(f"Spread over {spread.source}")
    text = f"<p>{escape(subject.amap.model.task)}</p>" if subject.amap.model.task else ""
    return section("What the model says of the whole slide", f"{text}{table(header, rows)}")


def _slide_part(subject: _Subject) -> str:
    slide, amap = subject.slide, subject.amap
    mpp_y, mpp_x = l0_mpp_yx(amap)
    height, width = slide.shape
    lines = (
        f"{width * mpp_x / 1000:.1f} x {height * mpp_y / 1000:.1f} mm, scanned at {mpp_x:.4g} µm per pixel "
        f"({width:,} x {height:,} pixels)",
        f"{counted(len(amap), 'patch')} of {amap.grid.tile_um:.0f} µm {agreed(len(amap), 'was', 'were')} looked at, "
        f"{format_area(len(amap) * amap.grid.tile_mm2)} in all",
    )
    if fills_slide(slide, tissue_window(slide, amap)):
        return section("The slide", bullets(lines))
    drawn = _drawn(subject, whole_slide(slide), _SLIDE_PX, overlay=False)
    return section("The slide", bullets(lines) + picture(drawn, "The whole slide as scanned"))


def _map_part(subject: _Subject) -> str:
    amap, view, display = subject.amap, subject.view, subject.display
    lines = [f"{view.title}. Colours: {view.scale.title}. {view.scale.help}", f"{display.sentence(amap, view)}."]
    if ends := limits_words(view):
        lines.append(f"{ends}.")
    if spread := evenness_words(view):
        lines.append(f"{spread}.")
    if display.smooth:
        lines.append("Drawn smoothly from patch to patch; numbers are those of the patches.")
    window = tissue_window(subject.slide, amap)
    return section(
        "Where the model looked",
        picture(_drawn(subject, window, _MAP_PX, overlay=False), "The part with tissue")
        + picture(_drawn(subject, window, _MAP_PX, overlay=True), "The same under the map")
        + f'<img alt="Colour bar" width="340" src="{_bar(subject)}">'
        + "".join(f"<p>{escape(line)}</p>" for line in lines),
    )


def _patches_part(subject: _Subject, k: int) -> Steps[str]:
    amap, view = subject.amap, subject.view
    tiles = top_tiles(view.raw, k)
    mpp_y, mpp_x = l0_mpp_yx(amap)
    pacer = Pacer("Drawing the report", len(tiles))
    cells = []
    for rank, tile in enumerate(tiles, start=1):
        pixels = subject.slide.to_srgb(read_field(subject.slide, amap, int(tile), _PATCH_PX))
        row, col = amap.grid.l0_rc[tile]
        caption = (
            f"<b>{rank}.</b> {patch_value(view, int(tile))}<br>x {col * mpp_x / 1000:.2f}, "
            f"y {row * mpp_y / 1000:.2f} mm"
        )
        if tags := subject.tags.get(int(tile)):
            caption += f"<br>{escape('; '.join(tags))}"
        address = embedded(Image.fromarray(pixels), "JPEG")
        cells.append(f'<td><img width="150" alt="Patch {rank}" src="{address}"><br>{caption}</td>')
        if step := pacer.step(rank):
            yield step
    if not cells:
        return ""
    text = (
        f'<p class="quiet">Place from the top, {escape(patch_value_words(view))}, and where its top-left corner lies. '
        f"Each is {format_length(round(amap.grid.tile_um, 1))} wide.</p>"
    )
    rows = [f"<tr>{''.join(cells[at : at + _PER_ROW])}</tr>" for at in range(0, len(cells), _PER_ROW)]
    return section(
        "The patches with the highest score", f'{text}<table class="patches"><tbody>{"".join(rows)}</tbody></table>'
    )


def _threshold_part(subject: _Subject) -> str:
    amap, view, display = subject.amap, subject.view, subject.display
    if display.threshold is None:
        return section("Threshold", "<p>None was chosen: all patches are shown, so no area is stated.</p>")
    found = summarise(view, amap.grid, display.threshold)
    raw = "" if found.raw_cut is None else f" A raw score of {found.raw_cut:.4g} or more lies above it."
    text = f"<p>{escape(display.sentence(amap, view))}.{raw}</p>"
    spots = shown_hot_spots(amap, view, display)
    if not spots:
        return section("Threshold and area", text)
    mpp_y, mpp_x = l0_mpp_yx(amap)
    listed = spots[:_MOST_SPOTS]
    unit, areas = format_areas([spot.area_mm2 for spot in listed])
    rows = [
        (
            str(number),
            area,
            f"{spot.n_patches:,}",
            f"{spot.peak:.3g}",
            f"{spot.mean:.3g}",
            f"{spot.l0_centroid_rc[1] * mpp_x / 1000:.2f}, {spot.l0_centroid_rc[0] * mpp_y / 1000:.2f}",
        )
        for number, (spot, area) in enumerate(zip(listed, areas, strict=True), start=1)
    ]
    header = (
        "Hot spot",
        f"Area ({unit})",
        "Patches",
        "Lowest" if display.inverted else "Peak",
        "Mean",
        "Middle x, y (mm)",
    )
    which = "lowest" if display.inverted else "highest"
    more = f" the {_MOST_SPOTS} with the {which} peak of {len(spots):,}" if len(spots) > _MOST_SPOTS else ""
    text += f'<p class="quiet">Hot spots are regions of neighbouring patches that are shown{more and ":" + more}.</p>'
    return section("Threshold and area", text + table(header, rows))


def _model_part(amap: AttentionMap) -> str:
    cards = [amap.model] if amap.prediction.spread is None else [*(amap.prediction.spread.models or (amap.model,))]
    parts = []
    for card in cards:
        title = f"<p><strong>{escape(card.title or card.pooling)}</strong></p>"
        parts.append(title + bullets([*card_summary(card), *card_details(card)]))
    return section("The model", "".join(parts))


def _is_not_part() -> str:
    return section("What this page is not", f'<div class="not">{bullets(_IS_NOT)}</div>')


def _provenance(subject: _Subject) -> str:
    amap, made = subject.amap, subject.amap.provenance
    encoder = amap.encoder
    rows = [
        ("Made", _date(made.created)),
        ("With", f"napari-mil {made.napari_mil}, PyTorch {made.torch}, Python {made.python}, on {made.device}"),
        ("Seed of the model", "not known" if made.seed is None else str(made.seed)),
        ("Encoder", " ".join(part for part in (encoder.name, encoder.version, encoder.weights_hash[:16]) if part)),
        ("Patches", f"{amap.grid.tile_px} pixels at {amap.grid.mpp:.4g} µm per pixel"),
        ("Slide's fingerprint", amap.slide.quickhash or "not known"),
        ("Score, scale", f"{subject.view.score}, {subject.view.scale.name}"),
    ]
    return section("With what it was made", table(None, rows))


def _date(created: str) -> str:
    """Write a time as people do; what is none is left as it is."""
    try:
        time = datetime.fromisoformat(created)
    except ValueError:
        return created
    return f"{time.day} {time:%B %Y, %H:%M} {time.tzname() or ''}".strip()


def _drawn(subject: _Subject, window: Window, long_px: int, *, overlay: bool) -> str:
    """Return a part of the slide with its scale bar, plain or under the map."""
    zoom = _LONGEST_IN / max(window.width, window.height)
    wide, tall = max(0.6, window.width * zoom), max(0.6, window.height * zoom)
    figure = Figure(figsize=(wide, tall + SCALE_BAR_HEIGHT), dpi=long_px / _LONGEST_IN)
    FigureCanvasAgg(figure)
    shape = max(1, round(tall * figure.dpi)), max(1, round(wide * figure.dpi))
    axes = add_axes(figure, (0, SCALE_BAR_HEIGHT, wide, tall))
    draw_slide(axes, read_window(subject.slide, window, shape), window)
    if overlay:
        draw_overlay(axes, subject.amap, subject.view, subject.display)
        axes.set(xlim=window.extent[:2], ylim=window.extent[2:])
    width_um = window.width * l0_mpp_yx(subject.amap)[1]
    draw_scale_bar(add_axes(figure, (0, 0, wide, SCALE_BAR_HEIGHT)), width_um, wide, size=11)
    return embedded(Image.fromarray(rendered(figure)), "JPEG")


def _bar(subject: _Subject) -> str:
    figure = Figure(figsize=(3.4, 0.5), dpi=200)
    FigureCanvasAgg(figure)
    draw_bar(add_axes(figure, (0.05, 0.24, 3.3, 0.22)), subject.view, subject.display)
    return embedded(Image.fromarray(rendered(figure)), "PNG")
