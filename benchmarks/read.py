"""Reading patches of a slide's tissue, beside OpenSlide, fastslide and the bare JPEG decoder, with the same patches.

Goals: at least 4 times the patches a second of OpenSlide asked for one patch at a time, which is how CLAM and TRIDENT
read; on patches that lie on the file's own tiles at least 0.7 times what libjpeg-turbo decodes from memory with as
many threads. ``python -m benchmarks.read [SLIDE ...]``; without arguments the real slides where they are at hand, else
the generated one. fastslide is measured where it is installed.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import openslide
import tifffile

from benchmarks._window import ROOT, SHARED
from napari_mil import find_tissue, open_slide, tile
from napari_mil.features._ahead import usable_cores
from napari_mil.features._patches import iter_batches, plan_batches
from napari_mil.slides import Slide, empty_rgb
from napari_mil.tiling import TileGrid

REAL = ("breast-lobular-10x.tif", "duodenum-giardiasis-40x.tif")
PATCH_PX, PATCHES, ROUNDS, BATCH = 256, 1000, 7, 16
BLOCK_PX = 512  # what extraction uses
FASTSLIDE_BLOCK_PX = 2048  # where fastslide is fastest
SHIFT_L0 = (77, 131)  # row, col: off the file's tiles
THREADS = min(4, usable_cores())
Peer = Callable[[], int]


def tissue_patches(slide: Slide) -> TileGrid:
    """Return patches of level-0 pixels on tissue, in a run of neighbours from its middle, on the file's own tiles."""
    grid = tile(slide, find_tissue(slide), tile_px=PATCH_PX, mpp=float(np.sqrt(np.prod(slide.mpp or (1.0, 1.0)))))
    first = max(0, (len(grid) - PATCHES) // 2)
    keep = slice(first, first + PATCHES)
    return replace(grid, l0_rc=grid.l0_rc[keep], tissue_fraction=grid.tissue_fraction[keep])


def extraction(slide: Slide, grid: TileGrid) -> int:
    """Read as feature extraction does."""
    slide.rest()  # nothing may be left over from the round before
    plan = plan_batches(slide, grid, batch_size=BATCH, block_px=BLOCK_PX)
    return sum(
        len(patches.tiles) for patches in iter_batches(slide, grid, plan, threads=THREADS) if patches is not None
    )


def one_at_a_time(slide: Slide, grid: TileGrid) -> int:
    """Read patch after patch in one thread."""
    slide.rest()
    return sum(slide.read_patch(row, col, grid.tile_l0, PATCH_PX).shape[0] == PATCH_PX for row, col in grid.l0_rc)


def openslide_loop(path: Path, corners: np.ndarray) -> int:
    """Read patch after patch with a handle of OpenSlide's, as CLAM and TRIDENT do."""
    with openslide.OpenSlide(path) as handle:
        return sum(
            np.asarray(handle.read_region((int(x), int(y)), 0, (PATCH_PX, PATCH_PX)).convert("RGB")).shape[0]
            == PATCH_PX
            for y, x in corners
        )


def openslide_threads(path: Path, corners: np.ndarray) -> int:
    """Do the same in threads, each with a handle of its own."""
    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(partial(openslide_loop, path), np.array_split(corners, THREADS)))


def fastslide_blocks(path: Path, corners: np.ndarray) -> int:
    """Read blocks with fastslide in threads and cut the patches out of them."""
    from fastslide import FastSlide

    handle = FastSlide.from_file_path(str(path))
    _, cell = np.unique(corners // FASTSLIDE_BLOCK_PX, axis=0, return_inverse=True)

    def block(members: np.ndarray) -> int:
        (top, left), (bottom, right) = members.min(0), members.max(0) + PATCH_PX
        size = int(right - left), int(bottom - top)
        pixels = np.asarray(handle.read_region((int(left), int(top)), 0, size).numpy())
        patches = [pixels[r : r + PATCH_PX, c : c + PATCH_PX, :3].copy() for r, c in members - (top, left)]
        return sum(patch.shape[:2] == (PATCH_PX, PATCH_PX) for patch in patches)

    with ThreadPoolExecutor(THREADS) as pool:
        done = sum(pool.map(block, [corners[cell.ravel() == k] for k in range(cell.max() + 1)]))
    handle.close()
    return done


def stored_tiles(path: Path, corners: np.ndarray) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield the JPEG streams of the tiles that the patches touch, each once, and the tables that belong to them."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        edges = np.array([page.tilelength, page.tilewidth])
        touched = set()
        for corner in corners:
            first, last = corner // edges, (corner + PATCH_PX - 1) // edges
            touched |= set(product(range(first[0], last[0] + 1), range(first[1], last[1] + 1)))
        across = -(-page.imagewidth // page.tilewidth)
        down = -(-page.imagelength // page.tilelength)
        for row, col in sorted(touched):
            if row < down and col < across:
                index = row * across + col
                tiff.filehandle.seek(page.dataoffsets[index])
                yield tiff.filehandle.read(page.databytecounts[index]), page.jpegtables


def decoder(tiles: list[tuple[bytes, bytes | None]], edges: tuple[int, int], patches: int) -> int:
    """Decode the tiles from memory with libjpeg-turbo, in threads, and do nothing with them.

    Each thread into one array of its own, placed where decoding is fastest: no patch can be had in less.
    """

    def decode(first: int) -> None:
        out = empty_rgb(*edges, 3)
        for data, tables in tiles[first::THREADS]:
            imagecodecs.jpeg8_decode(data, tables=tables, out=out)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(decode, range(THREADS)))
    return patches


def measure(path: Path) -> dict[str, Any]:
    """Return patches a second and ratios, medians over rounds in which every peer has its turn."""
    record: dict[str, Any] = {}
    with open_slide(path) as slide:
        aligned = tissue_patches(slide)
        for where, grid in (("aligned", aligned), ("unaligned", replace(aligned, l0_rc=aligned.l0_rc + SHIFT_L0))):
            corners, tiles = grid.l0_rc, list(stored_tiles(path, grid.l0_rc))
            peers: dict[str, Peer] = {
                "napari_mil": partial(extraction, slide, grid),
                "napari_mil_one_at_a_time": partial(one_at_a_time, slide, grid),
                "openslide_one_at_a_time": partial(openslide_loop, path, corners),
                "openslide_threads": partial(openslide_threads, path, corners),
                "decoder_limit": partial(decoder, tiles, slide.level_tiles[0], len(grid)),
            }
            if importlib.util.find_spec("fastslide"):
                peers["fastslide_threads"] = partial(fastslide_blocks, path, corners)
            record[where] = {"patches": len(grid), "tiles": len(tiles)} | rates(peers, len(grid))
        record["reader"] = slide.reader
    return record


def rates(peers: dict[str, Peer], patches: int) -> dict[str, Any]:
    """Time the peers in turn, round by round; the first round warms up."""
    found: dict[str, list[float]] = {name: [] for name in peers}
    by_processor: dict[str, list[float]] = {name: [] for name in peers}
    for turn in range(ROUNDS + 1):
        for name, read in peers.items():
            start, processor = time.perf_counter(), time.process_time()
            if read() != patches:
                sys.exit(f"{name} did not read all patches")
            if turn:
                found[name].append(patches / (time.perf_counter() - start))
                by_processor[name].append(patches / (time.process_time() - processor))

    def ratio(name: str, to: str, by: dict[str, list[float]] = found) -> float:
        return round(statistics.median(a / b for a, b in zip(by[name], by[to], strict=True)), 2)

    return {
        "processor_us_a_patch": {name: round(1e6 / statistics.median(rate)) for name, rate in by_processor.items()},
        "patches_per_s": {name: round(statistics.median(values)) for name, values in found.items()},
        "to_openslide_one_at_a_time": ratio("napari_mil", "openslide_one_at_a_time"),
        "to_openslide_threads": ratio("napari_mil", "openslide_threads"),
        "one_at_a_time_to_openslide": ratio("napari_mil_one_at_a_time", "openslide_one_at_a_time"),
        "to_decoder_limit": ratio("napari_mil", "decoder_limit"),
        # what others on the machine do hardly shows in these
        "to_openslide_by_processor_time": ratio("napari_mil", "openslide_one_at_a_time", by_processor),
        "to_decoder_limit_by_processor_time": ratio("napari_mil", "decoder_limit", by_processor),
    }


def main() -> None:
    """Measure each slide; print one JSON line."""
    real = [SHARED / "slides" / name for name in REAL]
    slides = [Path(name) for name in sys.argv[1:]] or [path for path in real if path.is_file()]
    record = {path.name: measure(path) for path in slides or [ROOT / "sample_data" / "sample-lesion.tif"]}
    met = all(
        one["aligned"]["to_openslide_one_at_a_time"] >= 4
        and one["unaligned"]["to_openslide_one_at_a_time"] >= 4
        and one["aligned"]["to_decoder_limit"] >= 0.7
        for one in record.values()
    )
    print(json.dumps({"benchmark": "read", "threads": THREADS, "slides": record, "met": met}))


if __name__ == "__main__":
    main()
