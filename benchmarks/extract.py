"""Slide to features, beside the recipe of CLAM and TRIDENT: a DataLoader that asks OpenSlide for one patch at a time.

Goals: at least 4 times its patches a second where reading dominates (an encoder that takes mean colours), at least 1.3
times where a ResNet-18 on the CPU does; less than 2 GB beside PyTorch for any slide. ``python -m benchmarks.extract``;
without the real slides the generated one is taken.
"""

from __future__ import annotations

import gc
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks._window import ROOT, SHARED
from napari_mil import extract, find_tissue, open_slide, tile
from napari_mil.features import Encoder, EncoderInfo
from napari_mil.features._ahead import usable_cores
from napari_mil.slides import Slide
from napari_mil.tiling import TileGrid
from napari_mil.triton_guard import without_triton

PATCH_PX, ROUNDS = 256, 5
READING_PATCHES, RESNET_PATCHES = 1000, 200
RECIPE_BATCH = 64
THREADS = (1, 2, 4)
SIZES = ((25_000, 20_000), (50_000, 40_000), (100_000, 80_000), (200_000, 150_000))
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class MeanColour(torch.nn.Module):
    """As good as nothing, so that reading is what is measured."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the mean of each channel."""
        return batch.mean((2, 3))


class PatchDataset(Dataset):  # type: ignore[type-arg]
    """Patches as the recipe reads them: a handle a worker, ``read_region`` a patch, to a normalised tensor."""

    def __init__(self, path: Path, corners: np.ndarray) -> None:
        self._path, self._corners = path, corners
        self._slide: openslide.OpenSlide | None = None

    def __len__(self) -> int:
        return len(self._corners)

    def __getitem__(self, index: int) -> torch.Tensor:
        if self._slide is None:
            self._slide = openslide.OpenSlide(self._path)
        row, col = self._corners[index]
        patch = self._slide.read_region((int(col), int(row)), 0, (PATCH_PX, PATCH_PX)).convert("RGB")
        tensor = torch.from_numpy(np.asarray(patch).copy()).permute(2, 0, 1).float() / 255
        return (tensor - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def recipe(path: Path, grid: TileGrid, module: torch.nn.Module, workers: int) -> int:
    """Extract as CLAM and TRIDENT do; without a GPU CLAM takes no workers, TRIDENT one a core."""
    loader = DataLoader(PatchDataset(path, grid.l0_rc), batch_size=RECIPE_BATCH, num_workers=workers)
    with torch.inference_mode():
        return sum(len(module(batch)) for batch in loader)


def encoder_of(module: torch.nn.Module, dim: int, mpp: float) -> Encoder:
    """Return a module as an encoder of the benchmark's patches."""
    info = EncoderInfo("benchmark", "", "", dim, PATCH_PX, mpp)
    return Encoder(module.eval(), info, title="", source="", licence="", mean=MEAN, std=STD)


def some_tissue(slide: Slide, count: int) -> TileGrid:
    """Return so many patches of level-0 pixels from the middle of the tissue."""
    grid = tile(slide, find_tissue(slide), tile_px=PATCH_PX, mpp=float(np.sqrt(np.prod(slide.mpp or (1.0, 1.0)))))
    keep = slice(max(0, (len(grid) - count) // 2), max(0, (len(grid) - count) // 2) + count)
    return replace(grid, l0_rc=grid.l0_rc[keep], tissue_fraction=grid.tissue_fraction[keep])


def ratio(path: Path, module: torch.nn.Module, dim: int, count: int) -> dict[str, Any]:
    """Time all in turn, round by round; the first round warms up."""
    with open_slide(path) as slide:
        grid = some_tissue(slide, count)
        encoder = encoder_of(module, dim, grid.mpp)
        peers: dict[str, Callable[[], int]] = {
            "napari_mil": lambda: len(extract(slide, grid, encoder, device="cpu")),
            "recipe": lambda: recipe(path, grid, module, 0),
            "recipe_with_workers": lambda: recipe(path, grid, module, usable_cores()),
        }
        rates: dict[str, list[float]] = {name: [] for name in peers}
        for turn in range(ROUNDS + 1):
            for name, peer in peers.items():
                slide.rest()
                start = time.perf_counter()
                if peer() != len(grid):
                    sys.exit(f"{name} lost patches")
                if turn:
                    rates[name].append(len(grid) / (time.perf_counter() - start))
        scaling = {}
        for threads in THREADS if dim == 3 else ():
            slide.rest()
            start = time.perf_counter()
            extract(slide, grid, encoder, device="cpu", threads=threads)
            scaling[threads] = round(len(grid) / (time.perf_counter() - start))
    ours = rates["napari_mil"]
    return {
        "patches": len(grid),
        "patches_per_s": {name: round(statistics.median(values)) for name, values in rates.items()},
        "ratio": round(statistics.median(a / b for a, b in zip(ours, rates["recipe"], strict=True)), 2),
        "ratio_with_workers": round(
            statistics.median(a / b for a, b in zip(ours, rates["recipe_with_workers"], strict=True)), 2
        ),
    } | ({"patches_per_s_by_reading_threads": scaling} if scaling else {})


def memory(width: int, height: int) -> dict[str, Any]:
    """Extract a whole generated slide in this process; return its peak memory beside PyTorch."""
    from sample_data import write_sparse_pyramid

    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        path = write_sparse_pyramid(Path(folder) / "slide.tif", (height, width), 0.25)
        with open_slide(path) as slide:
            grid = tile(slide, find_tissue(slide), tile_px=PATCH_PX, mpp=0.5)
            start = time.perf_counter()
            extract(slide, grid, encoder_of(MeanColour(), 3, 0.5), device="cpu", out=Path(folder) / "f.h5")
            seconds = time.perf_counter() - start
    gc.collect()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"patches": len(grid), "gb": round((peak - base) / 2**20, 2), "seconds": round(seconds, 1)}


def main() -> None:
    """Measure; print one JSON line."""
    if len(sys.argv) == 3:
        print(json.dumps(memory(int(sys.argv[1]), int(sys.argv[2]))))
        return
    warnings.simplefilter("ignore")
    with without_triton():
        import timm
    real = SHARED / "slides" / "duodenum-giardiasis-40x.tif"
    path = real if real.is_file() else ROOT / "sample_data" / "sample-lesion.tif"
    torch.manual_seed(0)
    resnet = timm.create_model("resnet18", pretrained=False, num_classes=0).eval()
    record: dict[str, Any] = {
        "reading": ratio(path, MeanColour(), 3, READING_PATCHES),
        "resnet18": ratio(path, resnet, 512, RESNET_PATCHES),
        "memory_beside_torch": {},
    }
    for width, height in SIZES:
        command = [sys.executable, "-m", "benchmarks.extract", str(width), str(height)]
        found = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
        record["memory_beside_torch"][f"{width} x {height}"] = json.loads(found)
    met = (
        record["reading"]["ratio"] >= 4
        and record["resnet18"]["ratio"] >= 1.3
        and all(found["gb"] < 2 for found in record["memory_beside_torch"].values())
    )
    print(json.dumps({"benchmark": "extract", "slide": path.name, "cores": usable_cores(), **record, "met": met}))


if __name__ == "__main__":
    main()
