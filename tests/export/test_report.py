from __future__ import annotations

import base64
import io
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from napari_mil.errors import ExportError
from napari_mil.export import Display, overlay_figure, write_report
from napari_mil.maps import DISCLAIMER, MapScore, Spread
from napari_mil.progress import finish

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Collect words, pictures and tags; every tag must be closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.pictures: list[Image.Image] = []
        self.tags: set[str] = set()
        self.alts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        given = dict(attrs)
        assert not set(given) & {"href", "srcset", "onload", "onclick"}
        if tag == "img":
            head, _, data = given["src"].partition(",")
            assert head in ("data:image/jpeg;base64", "data:image/png;base64")
            picture = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
            picture.load()
            self.pictures.append(picture)
            self.alts.append(given["alt"])
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page_of(scene, tmp_path, **options):
    path = finish(write_report(tmp_path / "r.html", scene.slide, scene.amap, **options))
    return Page(path.read_text(encoding="utf-8"))


def test_the_page_stands_alone_and_says_everything(scene, tmp_path):
    page = page_of(scene, tmp_path, display=Display(threshold=0.6), tags={0: ("mitosis",)})
    for words in (
        "fünf kreuze.tif", "Demo: crosses", "Not a diagnosis", DISCLAIMER, "tumour 73.0%", "normal 27.0%",
        "At or above 0.6: 3 of 5 patches", "Hot spot", "Area (µm²)", "Rank among",
        "With what it was made", "PyTorch 2.0", "1 January 2026", "1.2 x 0.8 mm", "mitosis",
        "What this page is not", "Classes",
    ):  # fmt: skip
        assert words in page.text, words
    assert not page.tags & {"script", "link", "iframe", "object", "svg", "form"}
    assert len(page.pictures) == 2 + 1 + 5  # slide, map, colour bar, patches
    assert all(page.alts)
    assert str(tmp_path.parent) not in page.text  # nor any other folder
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]


@pytest.mark.parametrize(
    ("attention", "words"),
    [([np.nan, 0.5, 0.25, 0.25, np.nan], "as if over 3 patches"), ([np.nan] * 5, ""), ([0.0] * 5, "")],
)
def test_page_and_picture_of_a_map_without_some_scores_or_any(scene, tmp_path, attention, words):
    amap = replace(scene.amap, scores={"attention": MapScore(np.array(attention, np.float32), "attention")})
    page = Page(finish(write_report(tmp_path / "r.html", scene.slide, amap)).read_text(encoding="utf-8"))
    assert words in page.text
    assert ("as if over" in page.text) == bool(words)
    assert overlay_figure(tmp_path / "o.png", scene.slide, amap).exists()


def test_patches_are_those_with_the_highest_score(scene, tmp_path):
    page = page_of(scene, tmp_path, display=Display("contribution", class_index=1), k=2)
    for picture, tile in zip(page.pictures[-2:], (4, 3), strict=True):
        row, col = scene.amap.grid.l0_rc[tile]
        expected = scene.slide.read_patch(row, col, scene.amap.grid.tile_l0, 256)
        assert np.abs(np.asarray(picture, float) - expected).mean() < 3
    assert "None was chosen: all patches are shown" in page.text


def test_names_are_text_whatever_they_hold(scene, tmp_path):
    nasty = '<script>alert("x")</script> & \' ©'
    amap = replace(
        scene.amap,
        model=replace(scene.amap.model, title=nasty, task=nasty, training={"note": nasty}),
        prediction=replace(scene.amap.prediction, class_names=("a<b", nasty)),
        slide=replace(scene.amap.slide, path=f"/x/{nasty.replace('/', '_')}.svs"),
    )
    path = finish(write_report(tmp_path / "r.html", scene.slide, amap, tags={0: (nasty,)}))
    page = Page(path.read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert page.text.count('alert("x")') >= 5


def test_spread_and_inverted(scene, tmp_path):
    half = np.full(2, 0.125, np.float32)
    prediction = replace(scene.amap.prediction, spread=Spread("mc-dropout", 20, half, half, seed=1))
    amap = replace(scene.amap, prediction=prediction)
    path = finish(
        write_report(tmp_path / "r.html", scene.slide, amap, display=Display(threshold=0.5, inverted=True, smooth=True))
    )
    text = Page(path.read_text(encoding="utf-8")).text
    for words in ("± 12.5%", "Spread over 20 passes with dropout", "Below 0.5: 2 of 5", "Lowest", "Drawn smoothly"):
        assert words in text


@pytest.mark.parametrize("n", [0, 1])
def test_a_map_of_hardly_anything(scene, map_of, tmp_path, n):
    amap = map_of(scene.slide, np.zeros((n, 2)), attention=(np.ones(n), "attention"))
    path = finish(write_report(tmp_path / "r.html", scene.slide, amap, display=Display(threshold=0.5)))
    assert f"{n} of {n} patches" in Page(path.read_text(encoding="utf-8")).text


def test_cancelled_or_refused_it_leaves_nothing(scene, tmp_path):
    steps = write_report(tmp_path / "r.html", scene.slide, scene.amap)
    for _ in range(2):
        next(steps)
    steps.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ExportError, match="Cannot write"):
        finish(write_report(tmp_path / "no" / "r.html", scene.slide, scene.amap))
    with pytest.raises(ValueError, match="k must be"):
        finish(write_report(tmp_path / "r.html", scene.slide, scene.amap, k=61))
