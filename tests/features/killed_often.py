"""Run by `test_engine`: an extraction that is killed at twenty moments and taken up again each time.

Children are forked, so that each begins at once; the engine's own threads run in the children only. The moments go by
what a child has written, since a busy machine is slow to begin: most fall within its work, some within its beginning.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from napari_mil.errors import FeaturesError
from napari_mil.features import Encoder, extract, load_encoder, read_features
from napari_mil.slides import open_slide

KILLS, SLOW_S, MOST_BYTES, PATIENCE_S = 20, 0.03, 8_000, 60.0


class Slow(torch.nn.Module):
    """The known encoder, slowed so that twenty kills find it at work."""

    def __init__(self, known: Encoder) -> None:
        super().__init__()
        self.known = known

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        time.sleep(SLOW_S)
        return self.known(batch)


def work(slide_path: str, plan: str, out: str) -> None:
    grid = read_features(plan).grid
    known = load_encoder("colour-texture", tile_px=grid.tile_px, mpp=grid.mpp)
    encoder = Encoder(Slow(known), known.info, title="slow", source="", licence="")
    with open_slide(slide_path) as slide:
        extract(slide, grid, encoder, device="cpu", out=out, batch_size=4, threads=2)


def size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def wait_for(path: Path, n_bytes: int, out: Path) -> None:
    """Wait until a file has so many bytes, or is finished and renamed."""
    end = time.monotonic() + PATIENCE_S
    while size(path) < n_bytes and not out.exists():
        if time.monotonic() > end:
            sys.exit(f"the child wrote nothing in {PATIENCE_S} s")
        time.sleep(0.001)


def main() -> None:
    slide_path, plan, out, seed = sys.argv[1:]
    dice = random.Random(int(seed))
    partial = Path(out + ".partial")
    grown, half_written = [], 0
    for _ in range(KILLS):
        before = size(partial)
        child = os.fork()
        if child == 0:
            work(slide_path, plan, out)
            os._exit(0)
        wait_for(partial, before + dice.randrange(MOST_BYTES), Path(out))
        time.sleep(dice.uniform(0.0, 2 * SLOW_S))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if not Path(out).exists():
            grown.append(size(partial))
        else:
            try:
                read_features(out)
            except FeaturesError:
                half_written += 1
    print(json.dumps({"grown": grown, "half_written": half_written, "done": Path(out).exists()}), flush=True)


if __name__ == "__main__":
    main()
