"""Train the two demo models that ship, on generated slides, with the project's own training code.

They show how the tool works and say nothing of patients. ``python -m sample_data.make_models [--out DIR]``
"""

from __future__ import annotations

import argparse
import csv
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from .cohort import make_cohort

POOLINGS = {"gated-attention": "gated attention", "mean": "mean"}
TASK = "Tells generated slides with tumour from those without. A demo model: it says nothing of patients."


def make_models(folder: Path, n_slides: int = 80, seed: int = 2026, size: tuple[int, int] = (2000, 2500)) -> list[Path]:
    """Generate a cohort, extract its features, train both demo models and write them.

    Parameters
    ----------
    folder : Path
        Where the models go.
    n_slides : int
        Slides of the cohort.
    seed : int
        Of cohort and training; other than the sample slides', so that these are unseen.
    size : (int, int)
        Height and width of each slide in pixels of 0.5 um.

    Returns
    -------
    list of Path
        The two models.
    """
    import napari_mil as nm
    from napari_mil.cohort import extract_slides
    from napari_mil.progress import finish
    from napari_mil.training import iter_train, load_bags, read_cohort

    with TemporaryDirectory() as name:
        work = Path(name)
        table = make_cohort(work / "slides", n_slides, seed, size)
        with table.open(newline="", encoding="utf-8") as file:
            slides: Sequence[Path] = [table.parent / row["slide"] for row in csv.DictReader(file)]
        finish(extract_slides(slides, work / "features", encoder="colour-texture"))
        cohort = read_cohort(table)
        bags = load_bags(cohort, work / "features")
        written = []
        for pooling, words in POOLINGS.items():
            title = f"Demo: tumour in generated slides ({words})"
            result = finish(iter_train(cohort, bags, pooling, work / pooling, title=title, task=TASK))
            print(f"{pooling}: AUC on held-out slides {result.auc_mean:.3f} ± {result.auc_sd:.3f}")
            model = nm.load_model(result.model_path)
            note = {"data": f"{n_slides} generated slides, seed {seed} (sample_data/make_models.py)"}
            model.card = replace(model.card, training={**note, **model.card.training})
            path = work / f"demo-{pooling}.safetensors"
            nm.save_model(path, model)
            written.append(Path(shutil.copy(path, folder / path.name)))
    return written


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder for the models")
    parser.add_argument("--slides", type=int, default=80, help="slides of the cohort")
    arguments = parser.parse_args()
    for path in make_models(arguments.out, arguments.slides):
        print(path)


if __name__ == "__main__":
    main()
