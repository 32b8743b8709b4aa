from __future__ import annotations

from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from napari_mil.errors import ExportError
from napari_mil.export import Display, overlay_figure
from napari_mil.export._colour_bar import tick_labels
from napari_mil.export._scale_bar import format_length, round_length_um
from napari_mil.maps import DISCLAIMER
from napari_mil.slides import open_slide, read_scaled


@pytest.fixture
def figures(monkeypatch):
    """Collect the figures as they are written."""
    from matplotlib.figure import Figure

    kept = []
    save = Figure.savefig

    def keep(figure, *args, **kwargs):
        kept.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", keep)
    return kept


def words(figure):
    return " ".join(text.get_text().replace("\n", " ") for text in figure.findobj(Text))


def assert_nothing_is_clipped(figure):
    renderer = figure.canvas.get_renderer()
    page = figure.bbox
    for text in figure.findobj(Text):
        if text.get_text().strip() and text.get_visible():
            box = text.get_window_extent(renderer)
            assert box.x0 >= page.x0, text
            assert box.y0 >= page.y0, text
            assert box.x1 <= page.x1 - 0.28 * figure.dpi, text  # the margin stays empty
            assert box.y1 <= page.y1, text


@pytest.mark.parametrize(("um", "expected"), [(1, 1), (4.9, 2), (5, 5), (999, 500), (1000, 1000), (7.3e4, 5e4)])
def test_scale_bar_has_a_round_length(um, expected):
    assert round_length_um(um) == pytest.approx(expected)


def test_lengths_have_units():
    assert [format_length(v) for v in (50, 500, 1000, 2000)] == ["50 µm", "500 µm", "1 mm", "2 mm"]


def test_picture_states_everything_and_clips_nothing(scene, tmp_path, figures):
    path = overlay_figure(
        tmp_path / "heatmap.png", scene.slide, scene.amap, display=Display(threshold=0.6), max_px=1200
    )
    text = words(figures[0])
    for part in (
        "Demo: crosses",
        "fünf kreuze.tif",
        "tumour, probability 73.0%",
        "Attention",
        "Rank among",
        "3 of 5 patches",
        DISCLAIMER,
    ):
        assert part in text
    assert_nothing_is_clipped(figures[0])
    with Image.open(path) as image:
        assert max(image.size) <= 1200
    assert [p.name for p in tmp_path.iterdir()] == ["heatmap.png"]


@pytest.mark.parametrize(
    "options",
    [
        {"score": "contribution", "class_index": 1},
        {"scale": "ratio", "threshold": 1.0},
        {"scale": "robust", "opacity": 0.0},
        {"threshold": 5.0},
    ],
)
def test_every_scale_fits_the_page(scene, tmp_path, figures, options):
    long = replace(scene.amap, model=replace(scene.amap.model, title="A very long title " * 6 + "x" * 90))
    overlay_figure(tmp_path / "h.png", scene.slide, long, max_px=800, display=Display(**options))
    assert_nothing_is_clipped(figures[0])


def test_overlay_lies_over_the_crosses(scene, map_of, tmp_path, figures):
    """The coloured cell's edges, in the picture, enclose the cross as the slide beneath shows it."""
    from dataclasses import replace as swap

    row, col = scene.crosses[2]
    amap = map_of(scene.slide, [(row - 50, col - 50)], tile=101.0, attention=([1.0], "attention"))
    overlay_figure(tmp_path / "h.png", scene.slide, swap(amap), max_px=1200)
    axes = next(a for a in figures[0].axes if len(a.images) == 2)
    plain, colour = axes.images
    left, right, bottom, top = colour.get_extent()
    # pixel edges: the tile's 101 px begin at its corner
    assert (left, right, bottom, top) == pytest.approx((col - 50, col + 51, row + 51, row - 50), abs=1e-6)
    pixels = np.asarray(plain.get_array(), float).mean(axis=2)
    dark = np.clip(200 - pixels, 0, None)
    ys, xs = np.indices(dark.shape)
    left, right, bottom, top = plain.get_extent()
    x = left + ((xs * dark).sum() / dark.sum() + 0.5) * (right - left) / dark.shape[1]
    y = top + ((ys * dark).sum() / dark.sum() + 0.5) * (bottom - top) / dark.shape[0]
    assert (y, x) == pytest.approx((row + 0.5, col + 0.5), abs=0.5)


def test_scale_bar_is_as_long_as_it_says(scene, tmp_path, figures):
    overlay_figure(tmp_path / "h.png", scene.slide, scene.amap, max_px=1200)
    strip = next(a for a in figures[0].axes if not a.images)
    (bar,) = strip.patches
    (label,) = strip.texts
    picture = next(a for a in figures[0].axes if a.images)
    l0_per_page = (picture.get_xlim()[1] - picture.get_xlim()[0]) / picture.bbox.width
    um = bar.get_width() * strip.bbox.width * l0_per_page * 0.5
    assert label.get_text() == format_length(round(um, 3))


def test_a_small_part_is_framed_on_the_whole_slide(scene, map_of, tmp_path, figures):
    overlay_figure(tmp_path / "a.png", scene.slide, scene.amap, max_px=600)
    small = map_of(scene.slide, [(0, 0), (100, 100)], attention=([0.5, 0.5], "attention"))
    overlay_figure(tmp_path / "b.png", scene.slide, small, max_px=600)
    whole, part = (len([a for a in f.axes if a.patches and a.images]) for f in figures)
    assert (whole, part) == (0, 1)


def test_colour_bar_ticks(scene):
    assert tick_labels(scene.amap.view()) == {0.0: "0", 0.5: "0.5", 1.0: "1"}
    assert list(tick_labels(scene.amap.view(scale="ratio")).values()) == ["0.1x", "1x", "10x"]
    assert list(tick_labels(scene.amap.view("contribution", class_index=1))) == [-2, 0, 2]


def test_a_pdf_is_a_pdf(scene, tmp_path):
    path = overlay_figure(tmp_path / "h.pdf", scene.slide, scene.amap, max_px=600)
    assert path.read_bytes().startswith(b"%PDF")


def test_faults(scene, tmp_path):
    with pytest.raises(ExportError, match="Cannot write"):
        overlay_figure(tmp_path / "no" / "h.png", scene.slide, scene.amap, max_px=400)
    with pytest.raises(ValueError, match="opacity"):
        Display(opacity=2)


def test_the_users_matplotlib_is_left_alone(scene, tmp_path):
    before = dict(mpl.rcParams)
    overlay_figure(tmp_path / "h.png", scene.slide, scene.amap, max_px=400)
    assert dict(mpl.rcParams) == before


def test_the_slide_is_shown_in_the_colours_of_its_profile(profiled_slide, map_of, tmp_path, figures):
    with open_slide(profiled_slide) as slide:
        amap = map_of(slide, [(300, 400)], tile=128.0, attention=([1.0], "attention"))
        overlay_figure(tmp_path / "a.png", slide, amap)
        picture = figures[-1].axes[0].images[0]
        left, right, bottom, top = picture.get_extent()
        stored = read_scaled(slide, top, left, bottom - top, right - left, (150, 150))
        true, shown = (np.mean(rgb, axis=(0, 1)) for rgb in (slide.to_srgb(stored), picture.get_array()))
        np.testing.assert_allclose(shown, true, atol=1)
        assert np.abs(true - stored.mean(axis=(0, 1))).min() > 4
