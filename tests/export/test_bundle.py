"""Several views at once: all of them or none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from napari_mil.errors import ExportError, MapError, NapariMilError
from napari_mil.export import EXPORT_KINDS, Display, ExportOptions, iter_export_file, iter_export_files
from napari_mil.progress import finish
from napari_mil.results import iter_export

OPTIONS = ExportOptions(Display(threshold=0.5), top_k=2, max_px=400, figure_format="svg", compress=True)
NAMES = {
    "patches", "patches.csv", "contact-sheet.png", "heatmap.png", "attention.geojson.gz", "hot-spots.geojson.gz",
    "outline.geojson.gz", "attention.ome.tif", "all-patches.csv", "figure.svg", "report.html",
}  # fmt: skip


def names_in(folder):
    return {path.name for path in folder.iterdir()}


def bytes_in(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_everything_into_a_new_deep_folder_beside_other_files(scene, tmp_path):
    out = tmp_path / "a" / "b"
    files = finish(iter_export_files(out, scene.slide, scene.amap, EXPORT_KINDS, OPTIONS))
    assert set(files) == NAMES == names_in(out)
    assert all(path.exists() and path.parent == out for path in files.values())
    (out / "letter.txt").write_text("dear")
    with pytest.raises(ExportError, match=r"holds .* already.*overwriting"):
        finish(iter_export_files(out, scene.slide, scene.amap, ["table", "report"], OPTIONS))
    finish(iter_export_files(out, scene.slide, scene.amap, EXPORT_KINDS, OPTIONS, overwrite=True))
    assert names_in(out) == NAMES | {"letter.txt"}


@pytest.mark.parametrize("kind", EXPORT_KINDS)
def test_more_patches_than_there_are(scene, tmp_path, kind):
    options = ExportOptions(Display(threshold=0.5), top_k=500, max_px=400)
    path = finish(iter_export_file(kind, tmp_path / options.file_name(kind), scene.slide, scene.amap, options))
    assert path.exists()
    if kind == "patches":
        assert len(names_in(path)) == 6


def test_closing_at_any_step_leaves_nothing(scene, tmp_path):
    steps = len(list(iter_export_files(tmp_path / "whole", scene.slide, scene.amap, EXPORT_KINDS, OPTIONS)))
    assert steps >= len(EXPORT_KINDS)
    for stop in range(1, steps, 3):
        work = iter_export_files(tmp_path / "new" / "deep", scene.slide, scene.amap, EXPORT_KINDS, OPTIONS)
        for _ in range(stop):
            next(work)
        work.close()
        assert names_in(tmp_path) == {"whole"}


def test_closing_or_failing_keeps_an_earlier_export(scene, tmp_path, monkeypatch):
    out = tmp_path / "o"
    finish(iter_export_files(out, scene.slide, scene.amap, EXPORT_KINDS, OPTIONS))
    before = bytes_in(out)
    again = iter_export_files(out, scene.slide, scene.amap, EXPORT_KINDS, OPTIONS, overwrite=True)
    for _ in range(6):
        next(again)
    again.close()
    assert bytes_in(out) == before
    real = Path.rename

    def rename(path, target):
        if path.name == "report.html" and path.parent.name.startswith(".partial-"):
            raise PermissionError(13, "Permission denied")
        return real(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(ExportError, match="Permission denied"):
        finish(iter_export_files(out, scene.slide, scene.amap, EXPORT_KINDS, OPTIONS, overwrite=True))
    assert bytes_in(out) == before


def test_what_cannot_work_is_refused_before_anything_is_written(scene, tmp_path):
    for options, error, words in (
        (ExportOptions(), ExportError, "none is chosen"),
        (ExportOptions(Display("gone", threshold=1)), MapError, "no score"),
        (ExportOptions(Display(threshold=1, colours="jet")), ExportError, "do not suit"),
        (ExportOptions(Display(threshold=1), mpp=0.001), ExportError, "coarser pixels"),
    ):
        with pytest.raises(error, match=words):
            finish(iter_export_files(tmp_path / "o", scene.slide, scene.amap, EXPORT_KINDS, options))
        assert list(tmp_path.iterdir()) == []
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ExportError, match="is a file"):
        finish(iter_export_files(tmp_path / "letter.txt", scene.slide, scene.amap, ["table"], OPTIONS))
    with pytest.raises(ValueError, match="what must be some of"):
        finish(iter_export_files(tmp_path / "o", scene.slide, scene.amap, ["label"], OPTIONS))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on file sizes")
def test_a_full_disk_leaves_nothing_and_is_said_in_words(scene, tmp_path):
    """In a process of its own, with every kind of file, wherever the room ends."""
    scene.amap.save(tmp_path / "m.h5")
    code = (
        "import resource, signal, sys\n"
        "from napari_mil.errors import ExportError\n"
        "from napari_mil.export import EXPORT_KINDS, Display, ExportOptions\n"
        "from napari_mil.progress import finish\n"
        "from napari_mil.results import iter_export\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "options = ExportOptions(Display(threshold=0.5), top_k=2, max_px=400)\n"
        "for kind in EXPORT_KINDS:\n"
        "    for room in (0, 600):\n"
        "        resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))\n"
        "        try: finish(iter_export(sys.argv[1], sys.argv[2], sys.argv[3], what=[kind], options=options))\n"
        "        except ExportError as err: print(kind, room, err)\n"
    )
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "m.h5"), str(scene.slide.path), str(out)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert {line.split()[0] for line in said if line.split()[1] == "0"} == set(EXPORT_KINDS)
    assert len(said) >= 2 * len(EXPORT_KINDS) - 2
    assert all("Cannot write" in line and "Free some space" in line for line in said)
    written = names_in(out) if out.exists() else set()
    assert len(written - {"patches.csv"}) == 2 * len(EXPORT_KINDS) - len(said)  # only what fitted
    assert not any(name.startswith(".partial") for name in written)


def test_a_class_by_name_and_a_threshold_by_count(scene, tmp_path):
    scene.amap.save(tmp_path / "m.h5")
    options = ExportOptions(Display("contribution"))
    files = finish(
        iter_export(
            tmp_path / "m.h5",
            scene.slide.path,
            tmp_path / "o",
            what=["table"],
            options=options,
            class_name="tumour",
            cut=("count", 2),
        )
    )
    lines = files["all-patches.csv"].read_text(encoding="utf-8").splitlines()
    column = lines[0].split(",").index("shown")
    assert [line.split(",")[column] for line in lines[1:]] == ["0", "0", "0", "1", "1"]
    with pytest.raises(NapariMilError, match='no class "cat"'):
        finish(iter_export(tmp_path / "m.h5", scene.slide.path, tmp_path / "p", class_name="cat"))
