"""The classic bags: MUSK1, MUSK2, Elephant, Fox and Tiger, every pooling, 10 folds, 5 times, beside published values.

Each bag is held out once a repeat. A fold's model is fitted on four fifths of the rest and stopped early by the other
fifth, standardised by what it was fitted on, and asked once about the fold's test bags. One recipe for all, which was
written down before the first run and not changed: nothing is tuned.

Run ``python -m benchmarks.classic_bags``. Every finished repeat is kept in ``results/benchmarks/classic_bags``;
``--poolings``, ``--datasets`` and ``--repeats`` do a part of it. The tables in docs/benchmarks.md are written anew from
all repeats that are there, with their number.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks._tables import DATA, RESULTS, Kept, rewrite, spread, table
from napari_mil.models import MODEL_NAMES, create_model
from napari_mil.progress import finish
from napari_mil.training import Cohort, Recipe, bag_auc, fit, make_folds, predict

DATASETS = ("musk1", "musk2", "elephant", "fox", "tiger")
CLASSES = ("negative", "positive")
FOLDS, REPEATS = 10, 5
RECIPE: dict[str, Any] = {"epochs": 40, "lr": 5e-4, "weight_decay": 5e-3, "patience": 10, "bags_per_step": 1}
HIDDEN = 128
SIZES: dict[str, dict[str, float | str]] = {"dsmil": {}, "transmil": {"hidden": HIDDEN, "landmarks": 16}}
# Accuracies as remembered, not checked against the papers.
PUBLISHED = {
    "attention": ("Ilse 2018", {"musk1": 0.892, "musk2": 0.858, "elephant": 0.868, "fox": 0.615, "tiger": 0.839}),
    "gated-attention": ("Ilse 2018", {"musk1": 0.900, "musk2": 0.863, "elephant": 0.857, "fox": 0.603, "tiger": 0.845}),
    "dsmil": ("Li 2021", {"musk1": 0.932, "musk2": 0.930, "elephant": 0.925, "fox": 0.729, "tiger": 0.869}),
}


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Bags of one dataset and what each is, in the order of the file."""

    cohort: Cohort
    bags: list[NDArray[np.float32]]


def read_dataset(path: Path) -> Dataset:
    """Read the bags of a file: instances `X`, the `bag` of each and `bag_label_per_instance`."""
    with np.load(path) as held:
        x, bag, label = (held[key] for key in ("X", "bag", "bag_label_per_instance"))
    names, first, which = np.unique(bag, return_index=True, return_inverse=True)
    if not np.array_equal(label[first][which], label):
        raise SystemExit(f"{path.name} gives one bag two labels.")
    slides = tuple(str(name).strip() for name in names)
    labels = tuple(CLASSES[int(value)] for value in label[first])
    bags = [np.ascontiguousarray(x[which == i], dtype=np.float32) for i in range(len(names))]
    return Dataset(Cohort(slides, labels, slides, None, CLASSES, {}), bags)


def run_repeat(dataset: Dataset, pooling: str, repeat: int) -> dict[str, float]:
    """Return accuracy and AUC, means over the test parts of ten folds that are drawn anew for each repeat."""
    start, targets = time.perf_counter(), dataset.cohort.targets
    accuracies, aucs = [], []
    for number, fold in enumerate(make_folds(dataset.cohort, FOLDS, repeat)):
        seed = 100 * repeat + number
        sizes = SIZES.get(pooling, {"hidden": HIDDEN})
        model = create_model(pooling, in_features=dataset.bags[0].shape[1], class_names=CLASSES, seed=seed, **sizes)
        finish(fit(model, dataset.bags, targets, fold.train, fold.val, Recipe(**RECIPE, seed=seed)))
        probabilities = np.stack([predict(model, dataset.bags[row]) for row in fold.test])
        accuracies.append(float((probabilities.argmax(axis=1) == targets[fold.test]).mean()))
        aucs.append(bag_auc(targets[fold.test], probabilities))
    return {
        "accuracy": float(np.mean(accuracies)),
        "auc": float(np.mean(aucs)),
        "seconds": time.perf_counter() - start,
    }


def write_tables(kept: Kept) -> None:
    """Write accuracy, with published values, and AUC."""
    texts = []
    for key, what in (("accuracy", "Accuracy"), ("auc", "AUC")):
        rows = []
        for pooling in MODEL_NAMES:
            cells = {name: kept.all((name, pooling, repeat) for repeat in range(REPEATS)) for name in DATASETS}
            if any(cells.values()):
                counts = sorted({len(found) for found in cells.values()})
                figures = [spread([cell[key] for cell in cells[name]]) for name in DATASETS]
                rows.append([pooling, *figures, " to ".join(map(str, counts))])
            if key == "accuracy" and pooling in PUBLISHED:
                source, values = PUBLISHED[pooling]
                figures = [f"{values[name]:.3f}".lstrip("0") for name in DATASETS]
                rows.append([f"*{pooling}, {source}, unverified*", *(f"*{value}*" for value in figures), ""])
        texts.append(table([what, *DATASETS, "repeats"], rows))
    rewrite("classic_bags", "\n\n".join(texts))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the repeats that are asked for and not there yet, the first repeat of all before the second of any."""
    args = _arguments(arguments)
    torch.set_num_threads(args.threads)
    kept = Kept(RESULTS / "classic_bags", {**RECIPE, "hidden": HIDDEN, "sizes": SIZES, "folds": FOLDS})
    datasets = {name: read_dataset(args.data / "bags" / f"{name}.npz") for name in args.datasets}
    for repeat in range(args.repeats):
        for pooling in args.poolings:
            for name, data in datasets.items():
                kept.make(lambda d=data, p=pooling, r=repeat: run_repeat(d, p, r), name, pooling, repeat)
    write_tables(kept)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Classic bags: accuracy and AUC of every pooling.")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with bags/")
    parser.add_argument("--poolings", nargs="+", choices=MODEL_NAMES, default=list(MODEL_NAMES))
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=list(DATASETS))
    parser.add_argument("--repeats", type=int, choices=range(1, REPEATS + 1), default=REPEATS, help="how many repeats")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    args = parser.parse_args(arguments)
    if not (args.data / "bags").is_dir():
        parser.error(f"no bags in {args.data}: give the folder with --data")
    return args


if __name__ == "__main__":
    main()
