"""Run by `test_resume`: begin an extraction and wait to be killed, or run into a full disk."""

import sys
import time

import torch

from napari_mil.errors import FeaturesError
from napari_mil.features import Encoder, iter_extract, load_encoder, read_features
from napari_mil.slides import open_slide

if __name__ == "__main__":
    slide_path, plan, out, how = sys.argv[1:]
    grid = read_features(plan).grid
    known = load_encoder("colour-texture", tile_px=grid.tile_px, mpp=grid.mpp)

    class Slow(torch.nn.Module):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            time.sleep(0.03)
            return known(batch)

    encoder = Encoder(Slow(), known.info, title="slow", source="", licence="")
    if how == "full":
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    with open_slide(slide_path) as slide:
        try:
            for progress in iter_extract(slide, grid, encoder, device="cpu", out=out, batch_size=16, threads=2):
                if how == "kill" and progress.done >= len(grid) // 4:
                    print(progress.done, flush=True)
                    time.sleep(100)
        except FeaturesError as err:
            print(err, flush=True)
