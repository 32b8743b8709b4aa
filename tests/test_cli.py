"""The command line as a user meets it: results, JSON, exit statuses, never a traceback for a mistake.

Commands are called through `main` in this process (`command_line`), and in a process of their own where that matters:
a whole run, the exit status and the words that a shell gets, Ctrl+C, what libraries log, a first import of what a
command needs.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Protocol

import h5py
import numpy as np
import pytest
import tifffile

from napari_mil.describe import describe
from napari_mil.features import read_features, write_foreign
from napari_mil.preferences import keep_scale
from napari_mil.slides import open_slide

BAD_NUMBERS = [
    ["export", "m.h5", "--slide", "a", "--out", "o", "--what", "label"],
    ["export", "m.h5", "--slide", "a", "--out", "o", "--what", ","],
    ["export", "m.h5", "--slide", "a", "--out", "o", "--inverted"],
    ["export", "m.h5", "--slide", "a", "--out", "o", "--max-px", "0"],
    ["run", "a", "--model", "m", "--out", "o", "--slide-mpp", "inf"],
    ["extract", "a", "--out", "o", "--encoder-mpp", "nan"],
    ["train", "c.csv", "--features", "f", "--out", "o", "--lr", "inf"],
    ["run", "a", "--model", "m", "--out", "o", "--patch-size", "128"],
    ["train", "c.csv", "--features", "f", "--out", "o", "--pooling", "sum"],
    ["train", "c.csv", "--features", "f", "--out", "o", "--recipe", "none"],
    ["train", "c.csv", "--features", "f", "--out", "o", "--epochs", "2", "--warmup-epochs", "2"],
    ["run", "a", "--model", "m", "--out", "o", "--mc-dropout", "1"],
    ["run", "a", "--model", "m", "--model", "n", "--out", "o", "--mc-dropout", "5"],
    ["run", "a", "--model", "m", "--out", "o", "--score", "saliency"],
]
COMMAND = [sys.executable, "-m", "napari_mil.cli"]


class Ended(Protocol):
    """What is known of a command that ended."""

    returncode: int
    stdout: str
    stderr: str


Call = Callable[..., Ended]


def process(*args: object) -> Ended:
    """Run a command in a process of its own, without a display."""
    clean = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    command = [*COMMAND, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, env=clean, check=False)


def record(done: Ended) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def ran(small_slide: Path, untrained_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("cli") / "out"
    return out, record(process("run", small_slide, "--model", untrained_model, "--out", out, "--top-k", 3, "--json"))


def test_run_says_what_it_found(ran: tuple[Path, dict]) -> None:
    out, said = ran
    assert said["patches"] > 30
    assert sum(said["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)
    assert set(said["files"]) >= {"attention.h5", "heatmap.png", "patches.csv", "run.json"}
    assert (out / "run.json").is_file()


def test_info_tells_slides_models_features_and_maps_apart(
    command_line: Call, ran: tuple[Path, dict], small_slide: Path, untrained_model: Path
) -> None:
    out, said = ran
    kinds = {
        record(command_line("info", path, "--json"))["kind"]
        for path in (small_slide, untrained_model, out / "features.h5", out / "attention.h5")
    }
    assert kinds == {"slide", "model", "features", "attention map"}
    text = command_line("info", out / "attention.h5").stdout
    assert f"{said['patches']:,} patches of 64 µm" in text
    text = command_line("info", small_slide).stdout
    assert "0.5 µm per pixel, 0.8 x 0.6 mm" in text
    assert "Read by direct decoding: the tiles of this kind of file (generic-tiff) can be decoded directly" in text


def test_info_says_whose_a_feature_file_is_and_whether_it_fits(
    command_line: Call, ran: tuple[Path, dict], small_slide: Path, small_cohort: Path, tmp_path: Path
) -> None:
    out, said = ran
    clam = tmp_path / "h5_files" / "one.h5"
    write_foreign(clam, read_features(out / "features.h5"), "clam")
    alone, text = describe(clam)
    assert (alone["format"], alone["patches"], alone["tile_l0_px"]) == ("clam", said["patches"], 128.0)
    assert (alone["tile_um"], alone["lacks"], alone["fits_slide"]) == (None, ["scale"], None)
    assert "of 128 level-0 pixels" in text
    fits = record(command_line("info", clam, "--slide", small_slide, "--json"))
    assert (fits["tile_um"], fits["lacks"], fits["fits_slide"]) == (64.0, [], True)
    (tmp_path / "patches" / "one.h5").unlink()
    lacking, text = describe(clam, slide=small_slide)
    assert (lacking["tile_l0_px"], lacking["tile_um"], lacking["fits_slide"]) == (None, None, False)
    assert "--patch-size" in text
    assert "cannot be told without the patch size" in text
    given, text = describe(clam, slide=small_slide, patch_size=128)
    assert (given["tile_um"], given["fits_slide"]) == (64.0, True)
    assert f"Fits {small_slide.name}" in text
    other = next(path for path in small_cohort.parent.glob("*.tif") if path != small_slide)
    own, text = describe(out / "features.h5", slide=other)
    assert own["fits_slide"] is False
    assert "made from another slide" in own["against_slide"]
    assert f"Does not fit {other.name}" in text
    stamp = tmp_path / "stamp.h5"
    write_foreign(stamp, read_features(out / "features.h5"), "stamp")
    microns, _ = describe(stamp)
    assert (microns["tile_um"], microns["tile_l0_px"], microns["slide"]["mpp"]) == (64.0, None, None)


def test_run_on_features_made_before(
    command_line: Call,
    ran: tuple[Path, dict],
    small_slide: Path,
    small_cohort: Path,
    untrained_model: Path,
    tmp_path: Path,
) -> None:
    out, said = ran
    clam = tmp_path / "h5_files" / "one.h5"
    write_foreign(clam, read_features(out / "features.h5"), "clam")
    (tmp_path / "patches" / "one.h5").unlink()
    args = ("run", small_slide, "--model", untrained_model, "--out", tmp_path / "o", "--features", clam)
    refused = command_line(*args)
    assert refused.returncode == 1
    assert "--patch-size" in refused.stderr
    again = record(command_line(*args, "--patch-size", 128, "--top-k", 1, "--json"))
    assert again["probabilities"] == pytest.approx(said["probabilities"], rel=1e-6)
    other = next(path for path in small_cohort.parent.glob("*.tif") if path != small_slide)
    args = ("run", other, "--model", untrained_model, "--out", tmp_path / "p", "--features", out / "features.h5")
    refused = command_line(*args)
    assert refused.returncode == 1
    assert "another slide" in refused.stderr
    assert "--accept-features" in refused.stderr
    taken = record(command_line(*args, "--accept-features", "--top-k", 1, "--json"))
    assert taken["probabilities"] == pytest.approx(said["probabilities"], rel=1e-6)
    assert command_line(*args, "--encoder", "colour-texture").returncode == 2


def test_info_says_what_reads_a_slide_and_why(command_line: Call, shared_data: Path, tmp_path: Path) -> None:
    dicom = record(command_line("info", shared_data / "slides" / "cmu-1-dicom", "--json"))
    assert (dicom["reader"], dicom["reader_why"]) == ("OpenSlide", "files of this kind (dicom) are not read directly")
    cut = tmp_path / "cut.tif"
    tifffile.imwrite(cut, np.zeros((512, 512, 3), np.uint8), tile=(256, 256), photometric="rgb")
    cut.write_bytes(cut.read_bytes()[:500_000])
    done = process("info", cut)  # where what libraries log would reach standard error
    assert "Note: the file is cut short: 2 of 4 pieces of its finest level are missing" in done.stdout
    assert done.stderr == ""


def test_a_scale_set_in_the_window_is_told_but_not_followed(small_slide: Path, profiled_slide: Path) -> None:
    with open_slide(small_slide) as slide:
        keep_scale(slide.quickhash, (0.3, 0.3))
    said, text = describe(small_slide)
    assert said["mpp"] == pytest.approx([0.5, 0.5])
    assert said["mpp_set_in_window"] == [0.3, 0.3]
    assert f"0.3 µm per pixel, set by you on {date.today().isoformat()}" in text
    assert "--slide-mpp 0.3." in text
    assert "Colours: the file has no colour profile" in text
    said, text = describe(profiled_slide)
    assert said["mpp_set_in_window"] is None
    assert "set by you" not in text
    assert "Colours: the file has a colour profile (RGB built-in)" in text


def test_every_view_with_every_option(
    command_line: Call, ran: tuple[Path, dict], small_slide: Path, tmp_path: Path
) -> None:
    out, said = ran
    given = "--what all --top-k 3 --format jpg --mpp 1 --context 2 --score contribution --class tumour --gz"
    shown = "--threshold 25 --threshold-by percentile --colours PuOr --opacity 0.4 --smooth --figure-format png"
    command = ["export", out / "attention.h5", "--slide", small_slide, "--out", tmp_path / "e"]
    files = record(command_line(*command, *given.split(), *shown.split(), "--json"))
    assert {Path(path).parent for path in files.values()} == {tmp_path / "e"}
    assert len(list((tmp_path / "e" / "patches").glob("*.jpg"))) == 3
    assert set(files) >= {"outline.geojson.gz", "figure.png", "report.html", "attention.ome.tif"}
    lines = (tmp_path / "e" / "all-patches.csv").read_text(encoding="utf-8").splitlines()
    column = lines[0].split(",").index("shown")
    above = sum(int(line.split(",")[column]) for line in lines[1:])
    assert above == said["patches"] - round(said["patches"] * 0.25)
    unknown = command_line(*command, "--class", "cat", "--overwrite")
    assert unknown.returncode == 1
    assert "tumour" in unknown.stderr
    none = command_line(*command, "--what", "hot-spots")
    assert none.returncode == 1
    assert "--threshold" in none.stderr


def test_export_and_extract_and_train(
    command_line: Call, ran: tuple[Path, dict], small_slide: Path, tmp_path: Path
) -> None:
    out, said = ran
    files = record(
        command_line("export", out / "attention.h5", "--slide", small_slide, "--out", tmp_path / "e", "--json")
    )
    assert Path(files["heatmap.png"]).is_file()
    again = command_line("export", out / "attention.h5", "--slide", small_slide, "--out", tmp_path / "e")
    assert again.returncode == 1
    assert "--overwrite" in again.stderr
    got = record(command_line("extract", small_slide, "--out", tmp_path / "f", "--json"))
    assert got["files"][0]["patches"] == said["patches"]
    other = command_line("extract", small_slide, "--out", tmp_path / "f", "--tile-px", "32")
    assert other.returncode == 1
    assert "--overwrite" in other.stderr
    assert record(command_line("info", got["files"][0]["file"], "--json"))["tile_px"] == 64


def as_another_slide(features: Path, quickhash: str) -> None:
    """Give a feature file the hash of another slide, since one slide under two names is refused."""
    with h5py.File(features, "r+") as file:
        about = json.loads(file.attrs["napari_mil"])
        about["slide"]["quickhash"] = quickhash
        file.attrs["napari_mil"] = json.dumps(about)


def test_train_on_extracted_features(command_line: Call, small_cohort: Path, tmp_path: Path) -> None:
    """Two slides stand for a cohort of sixteen: the command's path is what is tried here, not the model."""
    slides = sorted(small_cohort.parent.glob("*.tif"))
    command_line("extract", *slides, "--out", tmp_path / "f")
    rows = ["slide,label,patient"]
    for number in range(16):
        source = slides[number % 2]
        shutil.copy(tmp_path / "f" / f"{source.stem}.h5", tmp_path / "f" / f"s{number}.h5")
        as_another_slide(tmp_path / "f" / f"s{number}.h5", f"partial:{number}")
        rows.append(f"s{number},{'tumour' if number % 2 else 'normal'},p{number}")
    (tmp_path / "cohort.csv").write_text("\n".join(rows) + "\n")
    said = record(
        command_line(
            *("train", tmp_path / "cohort.csv", "--features", tmp_path / "f", "--out", tmp_path / "m"),
            *("--folds", 2, "--epochs", 8, "--patience", 8, "--title", "Two slides", "--device", "cpu", "--json"),
            *("--recipe", "halving", "--lr", "1e-3", "--max-patches", 5, "--no-class-weights", "--resume"),
            *("--size", "hidden=24", "--size", "dropout=0.1"),
        )
    )
    how = json.loads((tmp_path / "m" / "summary.json").read_text())["recipe"]
    asked = {"schedule": "steps", "lr": 1e-3, "epochs": 8, "max_patches": 5, "class_weights": False, "patience": 8}
    assert {name: how[name] for name in asked} == asked
    assert said["slides"] == 16
    assert said["auc_pooled"] == 1.0
    model = record(command_line("info", said["model"], "--json"))
    assert model["title"] == "Two slides"
    assert (model["config"]["hidden"], model["config"]["dropout"]) == (24, 0.1)
    again = ("train", tmp_path / "cohort.csv", "--features", tmp_path / "f", "--out", tmp_path / "n")
    for wrong, status, why in (("hidden", 2, "NAME=VALUE"), ("width=3", 1, "width"), ("hidden=0.5", 1, "hidden")):
        refused = command_line(*again, "--size", wrong)
        assert (refused.returncode, why in refused.stderr) == (status, True)
    assert model["encoder"] == "colour-texture"
    assert (tmp_path / "m" / "metrics.csv").is_file()
    assert (tmp_path / "m" / "roc.png").is_file()


def one_line_of(done: Ended, words: str, folder: Path) -> None:
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(folder.iterdir()), "a mistake leaves nothing behind"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["info", "no-such.safetensors"], "no-such.safetensors"),
        (["info", "no-such.pth"], "no-such.pth"),
        (["info", "no-such.h5"], "no-such.h5"),
        (["info", __file__, "--slide", "s.svs"], "no feature file"),
        (["run", "no-such.svs", "--model", "m", "--out", "o"], "no-such.svs"),
        (["extract", "no-such.svs", "--out", "o"], "no-such.svs"),
        (["export", "no-such.h5", "--slide", "s.svs", "--out", "o"], "no-such.h5"),
    ],
)
def test_a_mistake_is_one_line_and_status_1(
    command_line: Call, args: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one_line_of(command_line(*args), words, tmp_path)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["info", "no-such.svs"], "no-such.svs"),
        (["train", "no-such.csv", "--features", ".", "--out", "o"], "no-such.csv"),
        (["view", "no-such.svs"], "display"),
    ],
)
def test_a_shell_gets_one_line_and_status_1(
    args: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one_line_of(process(*args), words, tmp_path)


@pytest.mark.parametrize("args", [["nonsense"], ["extract", "a.svs"], ["run", "a", "--top-k", "0"], *BAD_NUMBERS])
def test_bad_use_is_status_2(command_line: Call, args: list[str]) -> None:
    assert command_line(*args).returncode == 2


def test_a_shell_gets_status_2() -> None:
    done = process("run")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_model_of_another_project_is_described_and_told_from_encoders_that_it_does_not_take(
    command_line: Call, shared_data: Path, small_slide: Path, tmp_path: Path
) -> None:
    clam = shared_data / "weights" / "clam_sb_s0.pt"
    card = record(command_line("info", clam, "--json"))
    assert (card["kind"], card["pooling"], card["in_features"]) == ("model", "clam-sb", 1024)
    done = command_line("run", small_slide, "--model", clam, "--encoder", "colour-texture", "--out", tmp_path / "o")
    assert done.returncode == 1
    assert "takes 1024 numbers per patch; colour-texture gives 102" in done.stderr.replace("\n", " ")
    assert not (tmp_path / "o" / "features.h5").exists()  # said before the run


def test_broken_slide_in_json_still_says_why(command_line: Call, shared_data: Path) -> None:
    done = command_line("info", shared_data / "slides" / "edge" / "broken.svs", "--json")
    assert done.returncode == 1
    assert "broken.svs" in json.loads(done.stdout)["error"]


def test_ctrl_c_keeps_what_was_extracted(command_line: Call, small_cohort: Path, tmp_path: Path) -> None:
    slides = sorted(small_cohort.parent.glob("*.tif"))
    out = tmp_path / "f"
    child = subprocess.Popen(
        [*COMMAND, "extract", *map(str, slides), "--out", str(out)], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not (out.is_dir() and any(out.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    _, stderr = child.communicate(timeout=60)
    if child.returncode != 0:  # it may have been done already
        assert child.returncode == 130
        assert "Traceback" not in stderr
        assert "goes on from there" in stderr
    assert record(command_line("extract", *slides, "--out", out, "--json"))["files"][1]["patches"] > 0


def test_demo_without_a_display_writes_the_picture_and_says_where(command_line: Call, tmp_path: Path) -> None:
    said = record(command_line("demo", "--out", tmp_path / "demo", "--json"))
    assert said["probabilities"]["tumour"] > 0.5
    assert str(tmp_path / "demo" / "heatmap.png") in said["note"]
    assert (tmp_path / "demo" / "heatmap.png").is_file()
    assert "demo model" in said["note"]


def test_version() -> None:
    import napari_mil

    assert process("--version").stdout.strip() == f"napari-mil {napari_mil.__version__}"
