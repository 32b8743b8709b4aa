"""Maps compared from their files: the command, its tables, its page and its words."""

from __future__ import annotations

import io
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from napari_mil.annotations import label_patches, read_annotations
from napari_mil.errors import ExportError
from napari_mil.evaluation import localise
from napari_mil.export import iter_compare
from napari_mil.maps import AttentionMap, MapCut, compare_maps, read_map, write_map
from napari_mil.progress import finish
from napari_mil.slides import open_slide


@pytest.fixture(scope="module")
def maps(small_slide: Path, untrained_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return the files of two maps of the small slide that differ in their attention."""
    from napari_mil.pipeline import run

    folder = tmp_path_factory.mktemp("maps")
    amap = run(small_slide, model=untrained_model, features_file=folder / "f.h5", device="cpu").map
    raw = amap.scores["attention"].raw
    turned = {**amap.scores, "attention": replace(amap.scores["attention"], raw=raw[::-1].copy())}
    other = replace(amap, scores=turned, model=replace(amap.model, title="Turned <round>"))
    for name, one in (("one", amap), ("two", other)):
        write_map(folder / f"{name}.h5", one)
    return [folder / "one.h5", folder / "two.h5"]


def test_tables_and_page_hold_the_figures(
    command_line: Callable, maps: list[Path], small_slide: Path, tmp_path: Path
) -> None:
    outlines = small_slide.with_suffix(".geojson")
    done = command_line("compare", *maps, "--annotation", outlines, "--out", tmp_path / "page", "--top-k", 20, "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    read = [read_map(path) for path in maps]
    [pair] = compare_maps(read, top_k=20).pairs
    table = pd.read_csv(tmp_path / "page" / "agreement.csv")
    assert table.loc[0, "spearman"] == pytest.approx(pair.spearman)
    assert record["agreement"][0]["jaccard"] == pytest.approx(pair.jaccard)
    assert pd.read_csv(tmp_path / "page" / "maps.csv")["name"].tolist() == ["Untrained", "Turned <round>"]
    with open_slide(small_slide) as slide:
        drawn = read_annotations(outlines, offset_xy=slide.bounds_origin_xy)
    wanted = [localise(amap.view(), label_patches(drawn, amap.grid)) for amap in read]
    found = pd.read_csv(tmp_path / "page" / "annotation.csv")
    np.testing.assert_allclose(found["auroc"], [one.auroc for one in wanted])
    np.testing.assert_allclose(found["best_dice"], [one.curve.best().dice for one in wanted])
    page = (tmp_path / "page" / "comparison.html").read_text("utf-8")
    assert "Turned &lt;round&gt;" in page
    assert "Turned <round>" not in page
    assert f"{pair.spearman:.3f}" in page
    assert "not a diagnosis" in page
    # one file: nothing is fetched from anywhere
    assert set(re.findall(r'(?:src|href)="([^"]{0,22})', page)) == {"data:image/png;base64,"}
    assert (tmp_path / "page" / "comparison.pdf").read_bytes().startswith(b"%PDF")
    assert sorted(record["files"]) == sorted(path.name for path in (tmp_path / "page").iterdir())


def test_tables_and_page_say_at_which_cut_the_iou_is(maps: list[Path], tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from napari_mil.cli import app

    read = [read_map(path) for path in maps]
    names = [str(path) for path in maps]
    for words, cut in (
        (["--threshold", "0.9"], MapCut("value", 0.9)),
        (["--threshold", "80", "--threshold-by", "percentile"], MapCut("percentile", 80)),
        (["--threshold", "7", "--threshold-by", "count"], MapCut("count", 7)),
        (["--share", "0.3"], MapCut("share", 0.3)),
    ):
        done = CliRunner().invoke(app, ["compare", *names, "--json", *words])
        assert done.exit_code == 0, done.output
        [got], [pair] = json.loads(done.stdout)["agreement"], compare_maps(read, cut=cut).pairs
        assert (got["cut_by"], got["cut_amount"], got["cut"]) == (cut.by, cut.amount, pair.cut)
        assert got["iou"] == pytest.approx(pair.iou)
    written = finish(iter_compare(maps, out=tmp_path / "page", cut=MapCut("percentile", 80)))
    table = pd.read_csv(tmp_path / "page" / "agreement.csv")
    assert table.loc[0, ["cut_by", "cut_amount", "cut"]].tolist() == ["percentile", 80, "Percentile 80"]
    page = (tmp_path / "page" / "comparison.html").read_text("utf-8")
    assert "<th>Percentile 80 IoU</th>" in page
    assert "at or above percentile 80 of each map&#x27;s own patches" in page
    assert any("percentile 80" in note for note in written.notes)
    for bad in (
        ["--share", "0.1", "--threshold", "1"],
        ["--threshold-by", "count"],
        ["--threshold", "-3", "--threshold-by", "count"],
    ):
        assert CliRunner().invoke(app, ["compare", *names, *bad]).exit_code == 2


def test_pictures_lie_on_the_slide_with_one_legend_each_and_the_same_limits(
    maps: list[Path], small_slide: Path
) -> None:
    from napari_mil.export import comparison_figure

    comparison = compare_maps([read_map(path) for path in maps], scale="ratio")
    with open_slide(small_slide) as slide:
        figure = comparison_figure(slide, comparison, dpi=60)
    drawn = [axes for axes in figure.axes if len(axes.images) == 2]
    assert len(drawn) == 2
    grid = comparison.maps[0].grid
    left, right, bottom, top = drawn[0].images[1].get_extent()
    low, high = grid.l0_rc.min(axis=0), grid.l0_rc.max(axis=0) + grid.tile_l0
    np.testing.assert_allclose([top, left, bottom, right], [*low, *high], atol=0.5)
    assert len({axes.images[1].get_clim() for axes in drawn}) == 1
    bars = [axes for axes in figure.axes if len(axes.images) == 1]
    assert len({tuple(label.get_text() for label in axes.get_xticklabels()) for axes in bars}) == 1
    assert len(bars) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on file sizes")
def test_a_full_disk_leaves_the_earlier_comparison_whole_and_is_said_in_words(
    maps: list[Path], small_slide: Path, tmp_path: Path
) -> None:
    """In a process of its own, wherever among tables, page and PDF the room ends."""
    page = tmp_path / "page"
    finish(iter_compare(maps, slide=small_slide, out=page))
    before = {path.name: path.read_bytes() for path in page.iterdir()}
    largest = max(map(len, before.values()))
    assert len(before["comparison.pdf"]) < len(before["comparison.html"]) == largest
    code = (
        "import resource, signal, sys\n"
        "from napari_mil.errors import ExportError\n"
        "from napari_mil.export import iter_compare\n"
        "from napari_mil.progress import finish\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "for room in sys.argv[5:]:\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (int(room), resource.RLIM_INFINITY))\n"
        "    for out in sys.argv[3:5]:\n"
        "        try: finish(iter_compare(sys.argv[1:3], out=out))\n"
        "        except ExportError as err: print(err)\n"
    )
    rooms = [0, 300, len(before["comparison.pdf"]) // 2, len(before["comparison.pdf"]) + 50]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, maps), str(page), str(tmp_path / "new" / "deep"), *map(str, rooms)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert len(said) == 2 * len(rooms)
    assert all(line.startswith("Cannot write") and "Free some space" in line for line in said)
    assert ".partial" not in done.stdout
    assert {path.name: path.read_bytes() for path in page.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["page"]


@pytest.mark.parametrize("failing", ["maps.csv", "comparison.html", "comparison.pdf"])
def test_a_disk_that_fills_at_any_file_changes_none(
    maps: list[Path], small_slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    finish(iter_compare(maps, slide=small_slide, out=tmp_path))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    opened = io.open

    def full(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        if "w" in mode and Path(str(file)).name.endswith(failing):
            raise OSError(28, "No space left on device")
        return opened(file, mode, *args, **options)

    monkeypatch.setattr(io, "open", full)
    monkeypatch.setattr("builtins.open", full)
    with pytest.raises(ExportError, match="No space left"):
        finish(iter_compare(maps, slide=small_slide, out=tmp_path))
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_words_on_the_screen(command_line: Callable, maps: list[Path], tmp_path: Path) -> None:
    done = command_line("compare", *maps)
    assert done.returncode == 0
    for words in ("How far they agree", "Spearman", "Top 50 Jaccard", "Top 10% IoU", "Both maps have the same patches"):
        assert words in done.stdout
    assert not list(tmp_path.iterdir())


def test_maps_of_one_name_are_told_apart_by_their_files(command_line: Callable, maps: list[Path]) -> None:
    record = json.loads(command_line("compare", maps[0], maps[0].with_name("two.h5"), maps[0], "--json").stdout)
    assert len({row["name"] for row in record["maps"]}) == 3
    twin = maps[0].with_name("fold-2.h5")
    write_map(twin, read_map(maps[0]))
    record = json.loads(command_line("compare", maps[0], twin, "--json").stdout)
    assert [row["name"] for row in record["maps"]] == ["Untrained, one", "Untrained, fold-2"]
    assert record["agreement"][0]["spearman"] == pytest.approx(1)


def test_mistakes_in_words(command_line: Callable, maps: list[Path], tmp_path: Path) -> None:
    assert command_line("compare", maps[0]).returncode == 2
    assert command_line("compare", *maps, "--share", "0").returncode == 2
    amap: AttentionMap = read_map(maps[0])
    other = tmp_path / "other.h5"
    write_map(other, replace(amap, slide=replace(amap.slide, quickhash="beef", path=str(tmp_path / "gone.svs"))))
    found = command_line("compare", maps[0], other)
    assert found.returncode == 1
    assert "different slides" in found.stderr
    found = command_line("compare", other, other, "--out", tmp_path / "page")
    assert found.returncode == 1
    assert "--slide" in found.stderr
    found = command_line("compare", other, other, "--out", tmp_path / "page", "--slide", amap.slide.path)
    assert found.returncode == 1
    assert "is not the slide of these maps" in found.stderr
    (tmp_path / "file").write_text("in the way")
    found = command_line("compare", *maps, "--out", tmp_path / "file")
    assert found.returncode == 1
    assert "Traceback" not in found.stderr
    found = command_line("compare", *maps, "--score", "beauty")
    assert found.returncode == 1
    assert "no score" in found.stderr


def test_what_is_not_defined_is_null_for_machines(command_line: Callable, maps: list[Path], tmp_path: Path) -> None:
    amap = read_map(maps[0])
    flat = replace(amap.scores["attention"], raw=np.full(len(amap), 1 / len(amap), np.float32))
    path = tmp_path / "flat.h5"
    write_map(path, replace(amap, scores={"attention": flat}, model=replace(amap.model, title="Flat")))
    record = json.loads(command_line("compare", maps[0], path, "--json").stdout)
    assert record["agreement"][0]["spearman"] is None
    assert record["maps"][1]["effective"] == pytest.approx(len(amap), rel=1e-3)
    assert not any(isinstance(v, float) and math.isnan(v) for row in record["maps"] for v in row.values())
