"""What every test may use."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]

# Workers (pytest -n) share the cores, and so do their children: said before anything loads PyTorch.
if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(workers))))

# The same examples in every run, so that the suite passes or fails by the code alone;
# `pytest --hypothesis-profile=search` looks for new ones. How long an example takes says how busy the machine is.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("suite", settings.get_profile("untimed"), derandomize=True)
settings.register_profile("search", settings.get_profile("untimed"), derandomize=False)
settings.load_profile("suite")


@pytest.fixture(autouse=True)
def no_preferences(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test away from what the user has set."""
    monkeypatch.setenv("NAPARI_MIL_CONFIG", str(tmp_path_factory.mktemp("config")))


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended, in the words of subprocess."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture(scope="session")
def command_line() -> Callable[..., Done]:
    """Return a function that runs a command as `main` does, in this process and without a display.

    A process of its own takes seconds to import what is here already; what needs one is named in tests/test_cli.py.
    Anything but an exit status (a traceback, for a user) fails the test.
    """

    def call(*args: object) -> Done:
        from napari_mil.cli import main

        tifffile = logging.getLogger("tifffile")
        level = tifffile.level
        out, err = io.StringIO(), io.StringIO()
        try:
            with (
                pytest.MonkeyPatch.context() as patch,
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
            ):
                patch.delenv("DISPLAY", raising=False)
                patch.delenv("WAYLAND_DISPLAY", raising=False)
                patch.setattr(sys, "argv", ["napari-mil", *map(str, args)])
                with pytest.raises(SystemExit) as end:
                    main()
        finally:
            tifffile.setLevel(level)
        return Done(int(end.value.code or 0), out.getvalue(), err.getvalue())

    return call


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real slides, weights and annotations; skip where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real data (../shared/data) is not on this machine")
    return folder


@pytest.fixture(scope="session")
def scanner_profile() -> bytes:
    """Return the ICC profile of a scanner of gamma 1.8 with the primaries of sRGB: conversion is in closed form."""
    import imagecodecs

    primaries = [0.64, 0.33, 1, 0.3, 0.6, 1, 0.15, 0.06, 1]
    profile: bytes = imagecodecs.cms_profile("rgb", whitepoint=(0.3127, 0.329, 1), primaries=primaries, gamma=1.8)
    return profile


@pytest.fixture(scope="session")
def profiled_slide(scanner_profile: bytes, small_slide: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return `small_slide` with `scanner_profile` in it."""
    import tifffile

    path = tmp_path_factory.mktemp("profiled") / "scanner colours.tif"
    with tifffile.TiffFile(small_slide) as old, tifffile.TiffWriter(path, bigtiff=True) as new:
        for k, page in enumerate(old.pages):
            new.write(
                page.asarray(),
                tile=(256, 256),
                photometric="rgb",
                compression="deflate",
                metadata=None,
                subfiletype=int(k > 0),
                resolution=(20_000, 20_000),
                resolutionunit="CENTIMETER",
                iccprofile=scanner_profile,
            )
    return path


@pytest.fixture(scope="session")
def small_cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the table of two generated slides, one with and one without tumour."""
    from sample_data import make_cohort

    return make_cohort(tmp_path_factory.mktemp("cohort"), n_slides=2, seed=7, size=(1200, 1600))


@pytest.fixture(scope="session")
def small_slide(small_cohort: Path) -> Path:
    """Return a generated slide of 1200 x 1600 px at 0.5 um/px, with tumour."""
    return next(path.with_suffix(".tif") for path in sorted(small_cohort.parent.glob("*.geojson")))


@pytest.fixture(scope="session")
def untrained_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a gated-attention model on colour-texture features with random weights."""
    from dataclasses import replace

    import napari_mil as nm

    info = nm.load_encoder("colour-texture").info
    model = nm.create_model("gated-attention", in_features=info.dim, class_names=("normal", "tumour"), seed=3)
    model.card = replace(
        model.card,
        title="Untrained",
        task="Nothing: its weights are random",
        encoder=info.name,
        encoder_version=info.version,
        tile_px=info.tile_px,
        mpp=info.mpp,
    )
    path = tmp_path_factory.mktemp("models") / "untrained.safetensors"
    nm.save_model(path, model)
    return path


@pytest.fixture
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep models and features of a test away from the user's; return the folder of both."""
    monkeypatch.setenv("NAPARI_MIL_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("NAPARI_MIL_FEATURES", str(tmp_path / "features"))
    (tmp_path / "models").mkdir()
    return tmp_path
