"""Real IDC patches as bags, and training runs on them: what `idc_bags` measures."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_mil.features import Encoder, load_encoder
from napari_mil.progress import finish
from napari_mil.training import Bags, Cohort, Recipe, TrainingResult, iter_train

CLASSES = ("no IDC", "IDC")
TILE_PX, MPP = 50, 4.0
RECIPE = Recipe(patience=20, bags_per_step=8)
# attention of patches to one another costs far more on a CPU than all other poolings: smaller than by default
SIZES: dict[str, dict[str, float | str]] = {
    "transmil": {"hidden": 128, "landmarks": 16},
    "tda": {"hidden": 128},
}


@dataclass(frozen=True, slots=True, eq=False)
class Patients:
    """The patients as bags, and what the pathologist said of each patch."""

    cohort: Cohort
    bags: Bags
    patch_labels: dict[str, NDArray[np.int64]]


def copy_encoder(data: Path, home: Path) -> Encoder:
    """Put the encoder's file into a folder, where the card of a model kept there may find it, and load it."""
    home.mkdir(parents=True, exist_ok=True)
    file = Path(shutil.copy(data / "weights" / "idc_cnn.torchscript.pt", home))
    file.chmod(0o644)
    return load_encoder(file, tile_px=TILE_PX, mpp=MPP)


def read_patients(data: Path, encoder: Encoder) -> Patients:
    """Encode all patches and gather them by patient, in raster order of their place in the slide."""
    with np.load(data / "idc" / "idc_patches.npz") as patches:
        images, patient, x, y, label = (patches[key] for key in ("images", "patient", "x", "y", "label"))
    if len(np.unique(np.stack([patient, x, y]), axis=1).T) != len(patient):
        raise SystemExit("The IDC file lists a patch twice; its figures would count it twice.")
    values = _encode(encoder, images)
    order = np.lexsort((x, y, patient))
    rows = {str(name): order[patient[order] == name] for name in np.unique(patient)}
    patch_labels = {name: label[which].astype(np.int64) for name, which in rows.items()}
    slides = tuple(rows)
    labels = tuple(CLASSES[int(patch_labels[name].any())] for name in slides)
    cohort = Cohort(slides, labels, slides, None, CLASSES, {})
    return Patients(cohort, Bags({name: values[which] for name, which in rows.items()}, encoder.info), patch_labels)


def _encode(encoder: Encoder, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    with torch.inference_mode():
        batches = torch.split(torch.from_numpy(images).permute(0, 3, 1, 2), 256)
        return torch.cat([encoder(batch.float() / 255) for batch in batches]).numpy()


def train_run(patients: Patients, pooling: str, out: Path, folds: int, seed: int) -> TrainingResult:
    """Train a pooling over patient-disjoint folds, and once more on everyone."""
    steps = iter_train(
        patients.cohort,
        patients.bags,
        pooling,
        out,
        folds=folds,
        recipe=replace(RECIPE, seed=seed),
        device="cpu",
        title=f"IDC, breast ({pooling.replace('-', ' ')})",
        task="Tells patients with invasive ductal carcinoma in any patch from patients without.",
        config=SIZES.get(pooling),
    )
    return finish(steps)


def settings(folds: int) -> dict[str, Any]:
    """Return what makes two runs comparable."""
    return {"recipe": asdict(RECIPE), "sizes": SIZES, "folds": folds}
