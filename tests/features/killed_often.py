"""Run by `test_engine`: an extraction that is killed at twenty moments and taken up again each time.

Children are forked, so that each begins at once and the moments fall within its work; the engine's own threads run in
the children only.
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

KILLS, SLOW_S, MOST_S = 20, 0.06, 0.8


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


def main() -> None:
    slide_path, plan, out, seed = sys.argv[1:]
    dice = random.Random(int(seed))
    partial = Path(out + ".partial")
    grown, half_written = [], 0
    for _ in range(KILLS):
        child = os.fork()
        if child == 0:
            work(slide_path, plan, out)
            os._exit(0)
        time.sleep(dice.uniform(0.0, MOST_S))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if not Path(out).exists():
            grown.append(partial.stat().st_size if partial.exists() else 0)
        else:
            try:
                read_features(out)
            except FeaturesError:
                half_written += 1
    print(json.dumps({"grown": grown, "half_written": half_written, "done": Path(out).exists()}), flush=True)


if __name__ == "__main__":
    main()
