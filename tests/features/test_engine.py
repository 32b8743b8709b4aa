"""The engine: right patches to right rows, whatever the threads, faults and interruptions."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_mil.errors import EncoderError, FeaturesError, SlideError
from napari_mil.features import (
    Encoder,
    Features,
    extract,
    iter_extract,
    load_encoder,
    read_features,
    write_features,
)
from napari_mil.features._encoding import fitting_batch
from napari_mil.features._patches import _blocks, iter_batches, plan_batches, read_batch
from napari_mil.progress import Progress, finish
from napari_mil.slides import Slide, open_slide
from napari_mil.tiling import TileGrid


def reading_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("napari-mil")]


@pytest.mark.parametrize(("tile_px", "mpp"), [(32, 0.5), (32, 0.53), (24, 1.0), (20, 2.0), (33, 3.1), (48, 0.4)])
def test_patches_are_those_of_read_patch(slide: Slide, tools: SimpleNamespace, tile_px: int, mpp: float) -> None:
    grid = tools.lay_grid(tile_px, mpp)
    plan = plan_batches(slide, grid, batch_size=21, block_px=300)
    assert [len(tiles) for tiles in plan[:-1]] == [21] * (len(plan) - 1)
    np.testing.assert_array_equal(np.sort(np.concatenate(plan)), np.arange(len(grid)))
    for tiles in plan[::5]:
        patches, errors = read_batch(slide, grid, tiles)
        assert errors == []
        np.testing.assert_array_equal(patches.tiles, tiles)
        for patch, (row, col) in zip(patches.pixels, grid.l0_rc[tiles], strict=True):
            one = slide.read_patch(row, col, grid.tile_l0, tile_px)
            assert np.abs(patch.astype(int) - one).max() <= 1


def test_neighbours_are_read_at_once_and_little_for_nothing() -> None:
    size = np.array([32.0, 32.0])
    far = np.array([[0, 0], [0, 900], [0, 932], [900, 0]])
    assert sorted(block.tolist() for block in _blocks(far, size, size)) == [[0], [1, 2], [3]]
    full = np.argwhere(np.ones((5, 7))) * 32.0
    assert [block.tolist() for block in _blocks(full, size, size)] == [list(range(35))]
    corner = np.array([[0, 0], [0, 32], [0, 64], [32, 0], [64, 0]])
    assert sorted(map(len, _blocks(corner, size, size))) == [2, 3]


@given(
    places=st.sets(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=60),
    step=st.floats(8.0, 40.0),
)
def test_blocks_hold_every_tile_once_and_are_nearly_full(places: set[tuple[int, int]], step: float) -> None:
    corners = np.array(sorted(places), float) * step
    size = np.array([32.0, 32.0])
    blocks = _blocks(corners, size, np.minimum(size, step))
    assert sorted(np.concatenate(blocks).tolist()) == list(range(len(corners)))
    for block in blocks:
        # of tiles that overlap, each fills what it adds to its neighbours
        own = np.minimum(size, step)
        box = (np.ptp(corners[block], axis=0) + own).prod()
        rim = size.prod() - own.prod()
        assert len(block) * own.prod() + rim >= 0.9 * (box + rim) - 1e-6


def test_far_clusters_of_overlapping_tiles_are_not_one_box() -> None:
    size = np.array([64.0, 64.0])
    cluster = np.argwhere(np.ones((8, 8))) * 16.0
    blocks = _blocks(np.concatenate([cluster, cluster + np.array([0, 1600])]), size, size / 4)
    assert [len(block) for block in blocks] == [64, 64]


def test_batches_of_a_resumed_run_are_those_of_a_whole_one(slide: Slide, grid: TileGrid, quarters: Encoder) -> None:
    """So that what an encoder makes of a batch is the same to the last bit."""
    plan = plan_batches(slide, grid, batch_size=16, block_px=512)
    assert [tiles.tolist() for tiles in plan_batches(slide, grid, batch_size=16, block_px=512)] == [
        tiles.tolist() for tiles in plan
    ]
    alone = [read_batch(slide, grid, tiles)[0].pixels for tiles in plan]
    for threads in (1, 4):
        together = [p.pixels for p in iter_batches(slide, grid, plan, threads=threads) if p is not None]
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one, other)


def test_every_row_is_its_tile(slide: Slide, grid: TileGrid, quarters: Encoder) -> None:
    features = extract(slide, grid, quarters, device="cpu")
    assert features.encoder == quarters.info
    assert features.slide == slide.ref
    for k in range(0, len(grid), 41):
        patch = slide.read_patch(*grid.l0_rc[k], grid.tile_l0, 32) / 255
        means = patch.reshape(2, 16, 2, 16, 3).mean((1, 3)).transpose(2, 0, 1).ravel()
        np.testing.assert_allclose(features.values[k], means, atol=2 / 255)


def test_no_block_is_larger_than_what_may_be_read_at_once() -> None:
    """Full ones are halved; a single tile cannot be, nor many of one place."""
    size = np.array([900.5, 900.5])
    for step in (900.5, 450.25):
        corners = np.array([(row, col) for row in range(16) for col in range(24)]) * step
        blocks = _blocks(corners, size, np.minimum(size, step))
        assert sorted(np.concatenate(blocks).tolist()) == list(range(384))
        boxes = [3 * (np.ptp(corners[block], axis=0) + size).prod() for block in blocks]
        assert max(boxes) <= 64 * 2**20
        assert sum(boxes) / len(boxes) > 16 * 2**20  # halved no further than need be
    large = np.array([6000.0, 6000.0])
    assert sorted(map(len, _blocks(np.array([[0.0, 0.0], [6000.0, 0.0]]), large, large))) == [1, 1]
    assert [len(block) for block in _blocks(np.zeros((3, 2)), large, large)] == [3]


def test_threads_and_blocks_do_not_show(slide: Slide, grid: TileGrid) -> None:
    encoder = load_encoder("colour-texture", tile_px=32, mpp=0.53)
    torch.set_num_threads(2)
    first = extract(slide, grid, encoder, device="cpu", threads=1).values
    assert torch.get_num_threads() == 2, "given back"
    np.testing.assert_array_equal(extract(slide, grid, encoder, device="cpu", threads=5).values, first)
    other = extract(slide, grid, encoder, device="cpu", threads=3, block_px=200, batch_size=13).values
    np.testing.assert_allclose(other, first, atol=1e-5)


def test_progress_counts_up_to_the_end(slide: Slide, grid: TileGrid, quarters: Encoder) -> None:
    steps = list(iter_extract(slide, grid, quarters, device="cpu", batch_size=7))
    assert all(isinstance(step, Progress) and step.total == len(grid) for step in steps)
    done = [step.done for step in steps]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, len(grid))


def test_empty_grid(slide: Slide, quarters: Encoder, tmp_path: Path) -> None:
    grid = TileGrid(np.empty((0, 2), np.int64), 34.0, 34.0, 32, 0.53, np.empty(0, np.float32))
    assert extract(slide, grid, quarters, device="cpu", out=tmp_path / "f.h5").values.shape == (0, 12)
    assert read_features(tmp_path / "f.h5").values.shape == (0, 12)


def test_file_is_written_once_and_read_back(
    slide: Slide, grid: TileGrid, quarters: Encoder, tools: SimpleNamespace, tmp_path: Path
) -> None:
    path = tmp_path / "new" / "f.h5"
    features = extract(slide, grid, quarters, device="cpu", out=path)
    assert [p.name for p in path.parent.iterdir()] == ["f.h5"]
    np.testing.assert_array_equal(read_features(path).values, features.values)
    steps = list(iter_extract(slide, grid, quarters, device="cpu", out=path))
    assert [s.message for s in steps] == ["These features were extracted before."]
    other = tools.make_quarters(32, 0.53)
    other.info = dataclasses.replace(other.info, version="2")
    assert extract(slide, grid, other, device="cpu", out=path).encoder.version == "2"
    assert read_features(path).encoder.version == "2"
    path.write_bytes(b"damaged")
    assert len(extract(slide, grid, other, device="cpu", out=path)) == len(grid)


def test_cancel_and_resume_give_the_same_bits(slide: Slide, grid: TileGrid, tmp_path: Path) -> None:
    encoder = load_encoder("colour-texture", tile_px=32, mpp=0.53)
    whole = extract(slide, grid, encoder, device="cpu", batch_size=16)
    path = tmp_path / "f.h5"
    runs, done = 0, 0
    while done < len(grid):
        steps = iter_extract(slide, grid, encoder, device="cpu", out=path, batch_size=16, threads=3)
        first = next(steps)
        assert first.done >= done
        assert ("Going on after" in first.message) == (first.done > 0)
        done = first.done
        for step in steps:
            if step.done > done:
                done = step.done
                break
        steps.close()
        assert reading_threads() == []
        runs += 1
    assert runs > 1
    np.testing.assert_array_equal(extract(slide, grid, encoder, device="cpu", out=path).values, whole.values)
    assert [p.name for p in tmp_path.iterdir()] == ["f.h5"]


def test_other_settings_begin_anew(slide: Slide, grid: TileGrid, quarters: Encoder, tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    steps = iter_extract(slide, grid, quarters, device="cpu", out=path, batch_size=8)
    while next(steps).done == 0:
        pass
    steps.close()
    fewer = TileGrid(grid.l0_rc[:99], grid.tile_l0, grid.stride_l0, 32, 0.53, grid.tissue_fraction[:99])
    steps = iter_extract(slide, fewer, quarters, device="cpu", out=path)
    assert next(steps).message == "The unfinished file belonged to other settings; starting anew."
    assert len(finish(steps)) == 99


class Waiting(torch.nn.Module):
    """Takes its time, and counts."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = 0

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        self.begun += 1
        time.sleep(0.15)
        return batch.mean((2, 3)).repeat(1, 4)


def test_closing_drops_what_has_not_begun(slide: Slide, grid: TileGrid, tools: SimpleNamespace, tmp_path: Path) -> None:
    module = Waiting()
    steps = iter_extract(
        slide, grid, tools.make_quarters(32, 0.53, module), device="cpu", out=tmp_path / "f.h5", batch_size=4
    )
    while next(steps).done == 0:
        pass
    steps.close()
    assert reading_threads() == []
    begun = module.begun
    assert begun * 4 < len(grid) / 2
    time.sleep(0.3)
    assert module.begun == begun
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f.h5.partial"]


def test_second_process_is_told(slide: Slide, grid: TileGrid, quarters: Encoder, tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    steps = iter_extract(slide, grid, quarters, device="cpu", out=path)
    next(steps)
    with pytest.raises(FeaturesError, match="being written by another process"):
        extract(slide, grid, quarters, device="cpu", out=path)
    assert len(finish(steps)) == len(grid)


class Forgetful(torch.nn.Module):
    """Runs out of memory above a number of patches."""

    def __init__(self, most: int, message: str) -> None:
        super().__init__()
        self.most, self.message, self.sizes = most, message, []

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        if len(batch) > self.most:
            raise RuntimeError(self.message)
        self.sizes.append(len(batch))
        return torch.nn.functional.adaptive_avg_pool2d(batch, 2).flatten(1)


@pytest.mark.parametrize("message", ["CUDA out of memory. Tried to", "DefaultCPUAllocator: can't allocate memory"])
def test_memory_that_runs_out_halves_the_batch(
    slide: Slide, grid: TileGrid, quarters: Encoder, tools: SimpleNamespace, message: str
) -> None:
    module = Forgetful(10, message)
    features = extract(slide, grid, tools.make_quarters(32, 0.53, module), device="cpu", batch_size=32)
    assert max(module.sizes) == 8
    np.testing.assert_allclose(features.values, extract(slide, grid, quarters, device="cpu").values, atol=1e-6)
    with pytest.raises(EncoderError, match=r"not enough memory on cpu.*Close other programs"):
        extract(slide, grid, tools.make_quarters(32, 0.53, Forgetful(0, message)), device="cpu")
    assert reading_threads() == []


def test_encoder_that_fails(slide: Slide, grid: TileGrid, tools: SimpleNamespace) -> None:
    with pytest.raises(EncoderError, match="failed on a batch"):
        extract(slide, grid, tools.make_quarters(32, 0.53, Forgetful(0, "shapes do not match")), device="cpu")
    module = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    with pytest.raises(EncoderError, match=r"returned \(\d+, 3\)"):
        extract(slide, grid, tools.make_quarters(32, 0.53, module), device="cpu")


def test_tiles_that_do_not_suit_the_encoder(slide: Slide, grid: TileGrid, tools: SimpleNamespace) -> None:
    for encoder in (tools.make_quarters(64, 0.53), tools.make_quarters(32, 1.0)):
        with pytest.raises(EncoderError, match=r"the tiles are 32 px at 0\.53 um/px"):
            extract(slide, grid, encoder)
    for name in ("batch_size", "threads", "block_px"):
        with pytest.raises(ValueError, match=name):
            extract(slide, grid, tools.make_quarters(32, 0.53), **{name: 0})


def test_unreadable_place_keeps_what_is_done(
    slide: Slide, grid: TileGrid, quarters: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f.h5"
    whole = extract(slide, grid, quarters, device="cpu", batch_size=8).values
    read = Slide.read

    def damaged(self: Slide, level: int, row: int, *args: int) -> np.ndarray:
        if row > 700:
            time.sleep(0.1)
            raise SlideError(f"damaged at row {row}")
        return read(self, level, row, *args)

    monkeypatch.setattr(Slide, "read", damaged)
    with pytest.raises(SlideError, match="damaged at row"):
        extract(slide, grid, quarters, device="cpu", out=path, batch_size=8, block_px=200, threads=1)
    assert reading_threads() == []
    monkeypatch.setattr(Slide, "read", read)
    steps = iter_extract(slide, grid, quarters, device="cpu", out=path, batch_size=8, block_px=200)
    assert next(steps).done > len(grid) / 4
    np.testing.assert_array_equal(finish(steps).values, whole)


def test_batches_suit_the_encoder(tools: SimpleNamespace) -> None:
    assert fitting_batch(load_encoder("colour-texture"), "cpu") == 128
    assert fitting_batch(tools.make_quarters(256, 1.0), "cpu") == 8
    large = tools.make_quarters(224, 1.0)
    for parameters, on_cpu, on_gpu in ((11e6, 8, 256), (86e6, 1, 256), (3e8, 1, 64), (1.1e9, 1, 16)):
        large.parameter_count = int(parameters)
        assert (fitting_batch(large, "cpu"), fitting_batch(large, "cuda")) == (on_cpu, on_gpu)


@pytest.fixture
def interrupted(slide_path: Path, grid: TileGrid, tmp_path: Path) -> SimpleNamespace:
    """Return what a child process needs to begin an extraction of colour-texture features into ``out``."""
    encoder = load_encoder("colour-texture", tile_px=32, mpp=0.53)
    with open_slide(slide_path) as slide:
        whole = extract(slide, grid, encoder, device="cpu", batch_size=16)
    write_features(tmp_path / "plan.h5", whole)
    (tmp_path / "out").mkdir()
    out = tmp_path / "out" / "f.h5"
    script = Path(__file__).with_name("killed_child.py")
    command = [sys.executable, str(script), str(slide_path), str(tmp_path / "plan.h5"), str(out)]
    return SimpleNamespace(encoder=encoder, whole=whole, out=out, command=command)


def finish_it(slide_path: Path, case: SimpleNamespace) -> tuple[Progress, Features]:
    with open_slide(slide_path) as slide:
        steps = iter_extract(slide, case.whole.grid, case.encoder, device="cpu", out=case.out, batch_size=16)
        return next(steps), finish(steps)


def test_killed_process_is_resumed(slide_path: Path, interrupted: SimpleNamespace) -> None:
    with subprocess.Popen([*interrupted.command, "kill"], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        done = int(child.stdout.readline())
        child.kill()
    assert not interrupted.out.exists()
    first, features = finish_it(slide_path, interrupted)
    assert done <= first.done < len(features)
    np.testing.assert_array_equal(features.values, interrupted.whole.values)
    assert [p.name for p in interrupted.out.parent.iterdir()] == ["f.h5"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the children are forked")
@pytest.mark.parametrize("seed", [1])
def test_killed_twenty_times_it_loses_nothing(slide_path: Path, interrupted: SimpleNamespace, seed: int) -> None:
    script = Path(__file__).with_name("killed_often.py")
    command = [*interrupted.command[:1], str(script), *interrupted.command[2:], str(seed)]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert told["half_written"] == 0
    frame = 4 * (4 * interrupted.encoder.info.dim + 16) + 64  # the last may be torn, and is then cut off
    grown = told["grown"]
    assert all(later >= before - frame for before, later in pairwise(grown)), "nothing that was safe is lost again"
    assert len(set(told["grown"])) > 1, "some kills fell into the work, on a busy machine, too"
    with open_slide(slide_path) as slide:
        features = extract(
            slide, interrupted.whole.grid, interrupted.encoder, device="cpu", out=interrupted.out, batch_size=4
        )
        alone = extract(slide, interrupted.whole.grid, interrupted.encoder, device="cpu", batch_size=4)
    assert features.values.tobytes() == alone.values.tobytes()
    assert [p.name for p in interrupted.out.parent.iterdir()] == ["f.h5"]
    assert read_features(interrupted.out).values.tobytes() == alone.values.tobytes()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on file sizes")
def test_full_disk_is_told_and_resumed(slide_path: Path, interrupted: SimpleNamespace) -> None:
    run = subprocess.run([*interrupted.command, "full"], capture_output=True, text=True, check=True)
    assert "Free some space or choose another folder" in run.stdout
    assert run.stdout.count("\n") == 1
    first, features = finish_it(slide_path, interrupted)
    assert first.done > 0
    np.testing.assert_array_equal(features.values, interrupted.whole.values)


def test_breast_slide_with_its_network(shared_data: Path, tmp_path: Path) -> None:
    """On the real slide every feature is that of the patch a person is shown."""
    from napari_mil.tiling import find_tissue, tile

    weights = shutil.copy(shared_data / "weights" / "idc_cnn.torchscript.pt", tmp_path)
    encoder = load_encoder(weights, tile_px=50, mpp=4.0)
    with open_slide(shared_data / "slides" / "breast-lobular-10x.tif") as slide:
        grid = tile(slide, find_tissue(slide), tile_px=50, mpp=4.0)
        features = extract(slide, grid, encoder, device="cpu", out=tmp_path / "f.h5")
        assert 800 < len(features) < 2000
        chosen = np.random.default_rng(0).choice(len(grid), 24, replace=False)
        shown = np.stack([slide.read_patch(*grid.l0_rc[k], grid.tile_l0, 50) for k in chosen])
    with torch.inference_mode():
        expected = encoder(torch.from_numpy(shown).permute(0, 3, 1, 2).float() / 255).numpy()
    np.testing.assert_allclose(features.values[chosen], expected, atol=0.05 * np.abs(expected).max())
    assert np.corrcoef(features.values[chosen].ravel(), expected.ravel())[0, 1] > 0.9999


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("name", "tolerance"), [("colour-texture", 1e-4), ("large", 2e-2)])
def test_gpu_and_cpu_agree(slide: Slide, grid: TileGrid, name: str, tolerance: float) -> None:
    """In float32 to 1e-4 of the features' spread, in half precision, which large encoders compute in, to 2e-2."""
    if name == "large":
        torch.manual_seed(0)
        layers = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 4096), torch.nn.Linear(4096, 16))
        info = dataclasses.replace(load_encoder("colour-texture", tile_px=32, mpp=0.53).info, name="large", dim=16)
        encoder = Encoder(layers, info, title="Large", source="", licence="")
    else:
        encoder = load_encoder("colour-texture", tile_px=32, mpp=0.53)
    cpu = extract(slide, grid, encoder, device="cpu").values
    gpu = extract(slide, grid, encoder, device="cuda").values
    assert np.abs(gpu - cpu).max() <= tolerance * cpu.std(0).max()
    np.testing.assert_array_equal(extract(slide, grid, encoder, device="cuda").values, gpu)


def test_numbers_that_are_not_finite_are_refused(
    slide: Slide, grid: TileGrid, quarters: Encoder, tmp_path: Path
) -> None:
    class Sometimes(torch.nn.Module):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            means = batch.mean((2, 3))
            return torch.where(means > means.max() - 1e-6, torch.nan, means)

    info = dataclasses.replace(quarters.info, name="sometimes", dim=3)
    encoder = Encoder(Sometimes(), info, title="", source="", licence="")
    with pytest.raises(EncoderError, match="not finite for some patches"):
        extract(slide, grid, encoder, device="cpu", out=tmp_path / "f.h5")
    assert not (tmp_path / "f.h5").exists()


def test_extractions_side_by_side_give_torch_its_threads_back(slide: Slide, grid: TileGrid, quarters: Encoder) -> None:
    torch.set_num_threads(3)
    first = iter_extract(slide, grid, quarters, device="cpu", batch_size=7)
    second = iter_extract(slide, grid, quarters, device="cpu", batch_size=7)
    for steps in (first, second):
        next(steps)
        next(steps)
    first.close()
    finish(second)
    assert torch.get_num_threads() == 3
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert found == [3]


def test_a_thread_that_extracts_meanwhile_goes_on_with_all_of_torchs_threads(
    slide: Slide, grid: TileGrid, quarters: Encoder
) -> None:
    """Its map would be computed by one thread, which takes longer and differs in the last digits."""
    torch.set_num_threads(3)
    first = iter_extract(slide, grid, quarters, device="cpu", batch_size=7)
    next(first)
    next(first)
    found: list[int] = []

    def second() -> None:
        finish(iter_extract(slide, grid, quarters, device="cpu", batch_size=7))
        found.append(torch.get_num_threads())

    thread = threading.Thread(target=second)
    thread.start()
    thread.join()
    first.close()
    assert found == [3]
    assert torch.get_num_threads() == 3
