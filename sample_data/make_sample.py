"""Make the two sample slides that ship with the plugin, and the lesions' outlines.

Run ``python -m sample_data.make_sample [--out DIR]``. The slides are drawn, not photographed: they belong to nobody,
resemble haematoxylin and eosin stained breast tissue, and their lesions are known exactly.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ._geojson import write_geojson
from ._tiff import pyramid_of, write_slide
from .painter import paint_slide, plan_slide

SHAPE = (6000, 8000)
MPP = 0.5
SEEDS = {"sample-lesion": 6, "sample-normal": 27}


def make_sample(folder: Path, shape: tuple[int, int] = SHAPE, mpp: float = MPP) -> list[Path]:
    """Write ``sample-lesion.tif``, ``sample-normal.tif`` and ``sample-lesion.geojson``.

    Parameters
    ----------
    folder : Path
        Where to; made if need be.
    shape : (int, int)
        Height and width of each slide in pixels.
    mpp : float
        Microns per pixel.

    Returns
    -------
    list of Path
        The files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, seed in SEEDS.items():
        plan = plan_slide(shape, mpp, seed, lesion=name == "sample-lesion")
        description = f"napari-mil {name}: generated H&E-like tissue, not from a patient"
        levels = pyramid_of(paint_slide(plan))
        written.append(write_slide(folder / f"{name}.tif", levels, mpp, description=description))
        if plan.outlines_rc:
            written.append(write_geojson(folder / f"{name}.geojson", plan.outlines_rc, name))
    return written


def main() -> None:
    """Read the command line and make the samples."""
    parser = argparse.ArgumentParser(description="Make napari-mil's sample slides.")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent, help="folder to write to")
    for path in make_sample(parser.parse_args().out):
        print(f"{path}  {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
