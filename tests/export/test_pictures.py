"""Contact sheet and figure for a paper."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from napari_mil.errors import ExportError
from napari_mil.export import Display, overlay_figure, write_contact_sheet, write_figure
from napari_mil.maps import DISCLAIMER, colours
from napari_mil.progress import finish


def test_the_sheet_shows_the_patches_in_order(scene, tmp_path):
    path = finish(write_contact_sheet(tmp_path / "c.png", scene.slide, scene.amap, thumbnail_px=100))
    sheet = np.asarray(Image.open(path).convert("RGB"), int)
    rgb = colours(scene.amap.view()).astype(int)
    corners = []
    for tile, (row, col) in enumerate(scene.amap.grid.l0_rc):
        pixels = scene.slide.read_patch(row, col, scene.amap.grid.tile_l0, 100).astype(int)
        hits = [
            (y, x)
            for y, x in np.ndindex(sheet.shape[0] - 110, sheet.shape[1] - 100)
            if x == 28 + tile * 110 and np.array_equal(sheet[y : y + 100, x : x + 100], pixels)
        ]
        [(y, x)] = hits
        np.testing.assert_array_equal(sheet[y + 102, x + 50], rgb[tile])  # the strip in the map's colour
        corners.append(y)
    assert len(set(corners)) == 1


def test_the_sheet_of_all_is_cut_to_what_there_is(scene, tmp_path):
    many = finish(write_contact_sheet(tmp_path / "a.jpg", scene.slide, scene.amap, k=500, context=2))
    five = finish(write_contact_sheet(tmp_path / "b.jpg", scene.slide, scene.amap, k=5, context=2))
    assert Path(many).read_bytes() == Path(five).read_bytes()


def test_the_sheet_refuses_in_words(scene, map_of, tmp_path):
    with pytest.raises(ExportError, match=r"written as \.png"):
        finish(write_contact_sheet(tmp_path / "c.pdf", scene.slide, scene.amap))
    with pytest.raises(ExportError, match="pixels wide"):
        finish(write_contact_sheet(tmp_path / "c.png", scene.slide, scene.amap, context=100))
    with pytest.raises(ExportError, match="smaller pictures"):
        finish(write_contact_sheet(tmp_path / "c.png", scene.slide, scene.amap, thumbnail_px=8000))
    unknown = map_of(scene.slide, [(0, 0)], loo=([[np.nan], [np.nan]], "leave_one_out"))
    with pytest.raises(ExportError, match="No patch of this map has a score"):
        finish(write_contact_sheet(tmp_path / "c.png", scene.slide, unknown))
    assert list(tmp_path.iterdir()) == []


def test_an_svg_holds_its_words_as_text(scene, tmp_path):
    before = dict(mpl.rcParams)
    path = finish(write_figure(tmp_path / "f.svg", scene.slide, scene.amap, display=Display(threshold=0.6)))
    words = " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text(encoding="utf-8")))
    for part in (
        "The slide",
        "Attention",
        "3 of 5 patches",
        "fünf kreuze.tif",
        "Demo: crosses",
        DISCLAIMER,
        "200 µm",
    ):
        assert part in words
    again = finish(write_figure(tmp_path / "g.svg", scene.slide, scene.amap, display=Display(threshold=0.6)))
    assert again.read_bytes() == path.read_bytes()
    assert dict(mpl.rcParams) == before


def test_a_pdf_embeds_its_typeface_whole(scene, tmp_path):
    data = finish(write_figure(tmp_path / "f.pdf", scene.slide, scene.amap)).read_bytes()
    assert b"/FontFile2" in data
    again = finish(write_figure(tmp_path / "g.pdf", scene.slide, scene.amap)).read_bytes()
    assert again == data
    assert b"/Type3" not in data  # what journals refuse
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", data, re.DOTALL)
    assert any(b" Tf" in zlib.decompress(s) for s in streams if s[:1] == b"x")


def test_a_png_has_300_dots_per_inch(scene, tmp_path):
    with Image.open(finish(write_figure(tmp_path / "f.png", scene.slide, scene.amap))) as picture:
        assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.5)
        assert picture.width == 2160


@pytest.mark.parametrize("k", [0, 1, 7])
def test_a_figure_of_any_number_of_patches(scene, map_of, tmp_path, k):
    amap = map_of(scene.slide, np.arange(16).reshape(8, 2) * 80, attention=(np.full(8, 1 / 8), "attention"))
    assert finish(write_figure(tmp_path / "f.png", scene.slide, amap, k=k)).is_file()


def test_a_picture_under_another_name_is_refused_in_words(scene, tmp_path):
    with pytest.raises(ExportError, match=r"written as \.png, \.svg, \.pdf"):
        finish(write_figure(tmp_path / "f.docx", scene.slide, scene.amap))
    with pytest.raises(ExportError, match="A picture is written as"):
        overlay_figure(tmp_path / "f.docx", scene.slide, scene.amap)
    with pytest.raises(ExportError, match="8,000 pixels long, as PNG longer, not 20,000"):
        overlay_figure(tmp_path / "f.png", scene.slide, scene.amap, max_px=20_000)
    assert list(tmp_path.iterdir()) == []


def test_a_cancelled_figure_leaves_nothing(scene, tmp_path):
    steps = write_figure(tmp_path / "f.pdf", scene.slide, scene.amap)
    next(steps)
    next(steps)
    steps.close()
    assert list(tmp_path.iterdir()) == []
