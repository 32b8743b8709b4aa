"""Is there a 9 in the bag, and which digit is it? Bags of handwritten digits, as in the paper of attention-based MIL.

A LeNet encoder is trained end to end with each pooling on 50, 100 and 200 bags (two of them on 500 too), then judged
on 1000 bags of digits of other writers. The recipe is that of the paper's published code and the last epoch is what is
judged: nothing is chosen by looking at results. With ``--validated`` training stops early and the epoch of the lowest
loss on validation bags is judged. With ``--short`` bags of 3 to 7 digits are asked how many of them it takes to be
right in 99 of 100, by validation bags; the test bags are looked at once, for the answer.

Run ``python -m benchmarks.mnist_bags``, and with ``--validated`` and ``--short``. Every finished cell of the grid is
kept in ``results/benchmarks/mnist_bags``; ``--poolings`` and ``--seeds`` do a part of it. The tables in
docs/benchmarks.md are written anew from all cells that are there.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from benchmarks._judging import ranks_patches
from benchmarks._tables import DATA, RESULTS, Kept, rewrite, spread, table
from napari_mil.models import MODEL_NAMES, BagOutput, create_model
from napari_mil.triton_guard import prepare_optimizers

TARGET = 9
BAGS = (50, 100, 200)
MORE_BAGS, MORE_POOLINGS = 500, ("attention", "gated-attention")
SEEDS = 5
TEST_BAGS = 1000
HELD_OUT = 10_000  # of the training images, kept for validation bags
RECIPE: dict[str, Any] = {"epochs": 20, "lr": 5e-4, "betas": (0.9, 0.999), "weight_decay": 1e-4}
# TDA's layers do not learn at a rate of 5e-4, one bag a step: its own recipe's instead
OWN_RECIPES: dict[str, dict[str, Any]] = {"tda": {"lr": 2e-4, "weight_decay": 1e-5}}
# With validation bags, a quarter as many as there are to train on.
VALIDATED_RECIPE: dict[str, Any] = RECIPE | {"epochs": 100, "patience": 20, "val_share": 0.25}
VALIDATED_BAGS = (200, 500)
# what takes features as they are, or without a rectifier: the encoder's last layer comes before the pooling
WHOLE_ENCODER = ("dsmil", "tda")
SIZES: dict[str, dict[str, float | str]] = {
    "dsmil": {},
    "tda": {"hidden": 128},
    "transmil": {"hidden": 128, "landmarks": 16},
}
SHORT_POOLING, SHORT_GOAL, SHORT_SEEDS, SHORT_VAL_BAGS = "attention", 0.99, 3, 1000
SHORT_BAGS = (200, 500, 1000, 2000, 4000, 8000)
SHORT_RECIPE: dict[str, Any] = RECIPE | {"epochs": 40, "lr": 3e-4, "halve_every": 10, "shift_px": 2}


@dataclass(frozen=True, slots=True, eq=False)
class Bags:
    """Bags of images: the rows of each, what each digit is (1 for the target), and what each bag is."""

    images: Tensor
    rows: list[NDArray[np.int64]]
    instance: list[NDArray[np.int64]]
    labels: NDArray[np.int64]


def normal_length(rng: np.random.Generator) -> int:
    """Return a number of digits: normal with mean 10 and variance 2, rounded, at least 1."""
    return max(1, round(rng.normal(10.0, 2.0**0.5)))


def short_length(rng: np.random.Generator) -> int:
    """Return a number of digits, 3 to 7, each as likely."""
    return int(rng.integers(3, 8))


def make_bags(
    images: Tensor,
    digits: NDArray[np.uint8],
    count: int,
    rng: np.random.Generator,
    length: Callable[[np.random.Generator], int] = normal_length,
) -> Bags:
    """Draw bags of digits, as many with the target as without (one more with it if the number is odd).

    Digits are drawn with repetition as they come; a bag of a kind of which there are enough is drawn again. Kinds are
    shuffled.
    """
    wanted = [count // 2, count - count // 2]
    rows: list[NDArray[np.int64]] = []
    while sum(wanted):
        drawn = rng.integers(0, len(digits), length(rng))
        kind = int((digits[drawn] == TARGET).any())
        if wanted[kind]:
            wanted[kind] -= 1
            rows.append(drawn)
    rows = [rows[i] for i in rng.permutation(count)]
    instance = [(digits[drawn] == TARGET).astype(np.int64) for drawn in rows]
    return Bags(images, rows, instance, np.array([int(some.any()) for some in instance]))


class BagNetwork(nn.Module):
    """LeNet and a pooling. The encoder's last layer, 800 to 500 with a rectifier, is the pooling's projection."""

    def __init__(self, pooling: str, seed: int) -> None:
        super().__init__()
        whole = pooling in WHOLE_ENCODER
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            layers = [nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2)]
            self.encoder = nn.Sequential(*layers, nn.Flatten(), *([nn.Linear(800, 500), nn.ReLU()] if whole else []))
        sizes = SIZES.get(pooling, {"hidden": 500})
        self.pooling = create_model(pooling, in_features=500 if whole else 800, n_classes=2, seed=seed, **sizes)

    def forward(self, images: Tensor, scores: bool = True) -> BagOutput:
        """Predict one bag of images (N, 1, 28, 28)."""
        return self.pooling(self.encoder(images), scores=scores)

    def loss(self, images: Tensor, target: int) -> Tensor:
        """Return the pooling's own loss of one bag."""
        return self.pooling.loss(self.encoder(images), target, cross_entropy)


def cross_entropy(logits: Tensor, target: int) -> Tensor:
    """Return the loss of logits (C,) against a class."""
    return torch.logsumexp(logits, dim=0) - logits[target]


def train(network: BagNetwork, bags: Bags, seed: int, how: dict[str, Any], val: Bags | None = None) -> None:
    """Train a network by a recipe; with validation bags the epoch of the lowest validation loss is kept."""
    prepare_optimizers()
    optimiser = torch.optim.Adam(
        network.parameters(), how["lr"], how["betas"], weight_decay=how["weight_decay"], fused=True
    )
    halving = torch.optim.lr_scheduler.StepLR(optimiser, how.get("halve_every", how["epochs"]), 0.5)
    order = np.random.default_rng(seed)
    best_loss, best, best_epoch = float("inf"), None, 0
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        for epoch in range(how["epochs"]):
            network.train()
            for bag in order.permutation(len(bags.rows)):
                optimiser.zero_grad()
                images = shifted(bags.images[bags.rows[bag]], how.get("shift_px", 0), order)
                network.loss(images, int(bags.labels[bag])).backward()
                optimiser.step()
            halving.step()
            network.eval()
            if val is not None and (loss := judge(network, val)["loss"]) < best_loss:
                best_loss, best, best_epoch = loss, deepcopy(network.state_dict()), epoch
            if epoch - best_epoch >= how.get("patience", how["epochs"]):
                break
    if best is not None:
        network.load_state_dict(best)


def shifted(images: Tensor, most_px: int, rng: np.random.Generator) -> Tensor:
    """Return images (N, 1, H, W), each moved by up to so many pixels either way; what comes in is background."""
    if not most_px:
        return images
    height, width = images.shape[2:]
    wide = nn.functional.pad(images, [most_px] * 4, value=float(images.min()))
    corners = rng.integers(0, 2 * most_px + 1, (len(images), 2))
    return torch.stack([wide[i, :, r : r + height, c : c + width] for i, (r, c) in enumerate(corners)])


@torch.inference_mode()
def judge(network: BagNetwork, bags: Bags, instances: bool = False) -> dict[str, float]:
    """Return loss, accuracy and AUC of bags, and the mean AUROC of the default score within bags of both kinds."""
    margins, ranked = [], []
    for rows, truth in zip(bags.rows, bags.instance, strict=True):
        found = network(bags.images[rows], scores=instances)
        margins.append(float(found.logits[1] - found.logits[0]))
        if instances:
            auroc = ranks_patches(found.scores[network.pooling.default_score], truth)
            ranked += [] if auroc is None else [auroc]
    signed = np.where(bags.labels == 1, margins, -np.array(margins))
    figures = {
        "loss": float(np.logaddexp(0, -signed).mean()),
        "accuracy": float((signed > 0).mean()),
        "auc": float(roc_auc_score(bags.labels, margins)),
    }
    return figures | ({"instance_auroc": float(np.mean(ranked))} if instances else {})


@dataclass(frozen=True, slots=True, eq=False)
class Digits:
    """MNIST, standardised by the usual mean and deviation: training, validation and test images of different draws."""

    parts: dict[str, tuple[Tensor, NDArray[np.uint8]]]

    def bags(self, part: str, count: int, seed: int, length: Callable[[np.random.Generator], int]) -> Bags:
        """Return bags of a part; the same for the same seed, whatever else was drawn."""
        rng = np.random.default_rng([seed, tuple(self.parts).index(part)])
        return make_bags(*self.parts[part], count, rng, length)


def read_digits(path: Path) -> Digits:
    """Read MNIST."""
    with np.load(path) as held:
        train, test = ((held[f"x_{part}"], held[f"y_{part}"]) for part in ("train", "test"))
    parts = {
        "train": (train[0][:-HELD_OUT], train[1][:-HELD_OUT]),
        "val": (train[0][-HELD_OUT:], train[1][-HELD_OUT:]),
        "test": test,
    }
    return Digits({name: (_standardised(images), digits) for name, (images, digits) in parts.items()})


def _standardised(images: NDArray[np.uint8]) -> Tensor:
    return ((torch.from_numpy(images).float() / 255 - 0.1307) / 0.3081)[:, None]


def run_cell(digits: Digits, pooling: str, count: int, seed: int) -> dict[str, float]:
    """Train on `count` bags and judge on the test bags, which are the same for every pooling and number of bags."""
    start = time.perf_counter()
    network = BagNetwork(pooling, seed)
    train(network, digits.bags("train", count, seed, normal_length), seed, RECIPE | OWN_RECIPES.get(pooling, {}))
    figures = judge(network, digits.bags("test", TEST_BAGS, seed, normal_length), instances=True)
    return figures | {"seconds": time.perf_counter() - start}


def run_validated_cell(digits: Digits, pooling: str, count: int, seed: int) -> dict[str, float]:
    """As `run_cell`, with the epoch chosen by validation bags."""
    start = time.perf_counter()
    network = BagNetwork(pooling, seed)
    val = digits.bags("val", round(VALIDATED_RECIPE["val_share"] * count), seed, normal_length)
    train(network, digits.bags("train", count, seed, normal_length), seed, VALIDATED_RECIPE, val)
    figures = judge(network, digits.bags("test", TEST_BAGS, seed, normal_length), instances=True)
    return figures | {"seconds": time.perf_counter() - start}


def run_short_cell(digits: Digits, count: int, seed: int) -> dict[str, float]:
    """Train on `count` bags of 3 to 7 digits, stop early by validation bags, judge on validation and test bags."""
    start = time.perf_counter()
    network = BagNetwork(SHORT_POOLING, seed)
    val = digits.bags("val", SHORT_VAL_BAGS, seed, short_length)
    train(network, digits.bags("train", count, seed, short_length), seed, SHORT_RECIPE, val)
    test = judge(network, digits.bags("test", TEST_BAGS, seed, short_length))
    return {
        "val_accuracy": judge(network, val)["accuracy"],
        "test_accuracy": test["accuracy"],
        "test_auc": test["auc"],
        "seconds": time.perf_counter() - start,
    }


def write_grid_table(kept: Kept) -> None:
    """Write the table of all poolings."""
    rows = []
    for pooling in MODEL_NAMES:
        cells = {n: kept.all((pooling, n, seed) for seed in range(SEEDS)) for n in (*BAGS, MORE_BAGS)}
        if any(cells.values()):
            figures = [spread([cell[key] for cell in cells[n]]) for key in ("auc", "instance_auroc") for n in cells]
            seeds = sorted({len(found) for found in cells.values() if found})
            rows.append([pooling, *figures, " to ".join(map(str, seeds))])
    heads = [f"{what}, {count} bags" for what in ("bag AUC", "instance AUROC") for count in (*BAGS, MORE_BAGS)]
    rewrite("mnist_bags", table(["pooling", *heads, "seeds"], rows))


def write_validated_table(kept: Kept) -> None:
    """Write the table of the poolings whose epoch was chosen by validation bags."""
    rows = []
    for pooling in MORE_POOLINGS:
        for count in VALIDATED_BAGS:
            cells = kept.all((pooling, count, seed) for seed in range(SEEDS))
            if cells:
                figures = [spread([cell[key] for cell in cells]) for key in ("auc", "instance_auroc")]
                rows.append([pooling, count, *figures, len(cells)])
    head = ["pooling", "training bags", "bag AUC", "instance AUROC", "seeds"]
    rewrite("mnist_bags_validated", table(head, rows))


def write_short_table(kept: Kept) -> None:
    """Write how accuracy grows with the number of short bags, and how many are enough."""
    rows, means = [], {}
    for count in SHORT_BAGS:
        cells = kept.all((count, seed) for seed in range(SHORT_SEEDS))
        if cells:
            keys = ("val_accuracy", "test_accuracy", "test_auc")
            rows.append([count, *(spread([cell[key] for cell in cells], 4) for key in keys), len(cells)])
            means[count] = [float(np.mean([cell[key] for cell in cells])) for key in keys]
    head = ["training bags", "validation accuracy", "test accuracy", "test AUC", "seeds"]
    rewrite("mnist_bags_short", f"{table(head, rows)}\n\n{_how_many_are_enough(means)}")


def _how_many_are_enough(means: dict[int, list[float]]) -> str:
    """Say from how many bags on the validation bags, and the test bags, reach the goal; of mean accuracies of both."""
    by_val, by_test = (next((n for n, mean in means.items() if mean[part] >= SHORT_GOAL), None) for part in (0, 1))
    if by_val is None:
        return f"None of these is enough for a validation accuracy of {SHORT_GOAL}: **the goal is missed**."
    test = means[by_val][1]
    words = f"By the validation bags {by_val} training bags are enough for an accuracy of {SHORT_GOAL}; "
    words += f"on the test bags it is then {test:.4f}"
    if test >= SHORT_GOAL:
        return f"{words}."
    reached = f": those take {by_test} ({means[by_test][1]:.4f})" if by_test else ", **short of the goal**"
    return f"{words}{reached}."


def run_grid(digits: Digits, args: argparse.Namespace) -> None:
    """Run every pooling on every number of bags by the published code's recipe."""
    kept = Kept(RESULTS / "mnist_bags", {**RECIPE, "sizes": SIZES, "test_bags": TEST_BAGS})
    for seed in args.seeds:
        for pooling in args.poolings:
            for count in (*BAGS, MORE_BAGS) if pooling in MORE_POOLINGS else BAGS:
                kept.make(partial(run_cell, digits, pooling, count, seed), pooling, count, seed)
    write_grid_table(kept)


def run_validated(digits: Digits, args: argparse.Namespace) -> None:
    """Run the two attention poolings with the epoch chosen by validation bags."""
    kept = Kept(RESULTS / "mnist_bags_validated", {**VALIDATED_RECIPE, "test_bags": TEST_BAGS})
    for seed in args.seeds:
        for pooling in MORE_POOLINGS:
            for count in VALIDATED_BAGS:
                kept.make(partial(run_validated_cell, digits, pooling, count, seed), pooling, count, seed)
    write_validated_table(kept)


def run_short(digits: Digits, args: argparse.Namespace) -> None:
    """Run growing numbers of short bags."""
    kept = Kept(RESULTS / "mnist_bags_short", {**SHORT_RECIPE, "pooling": SHORT_POOLING, "val": SHORT_VAL_BAGS})
    for seed in args.seeds:
        for count in SHORT_BAGS:
            kept.make(partial(run_short_cell, digits, count, seed), count, seed)
    write_short_table(kept)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the cells that are asked for and not there yet, and write their table."""
    args = _arguments(arguments)
    torch.set_num_threads(args.threads)
    digits = read_digits(args.data / "mnist" / "mnist.npz")
    if args.short:
        run_short(digits, args)
    elif args.validated:
        run_validated(digits, args)
    else:
        run_grid(digits, args)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="MNIST bags: bag AUC and instance AUROC of every pooling.")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with mnist/mnist.npz")
    parser.add_argument("--poolings", nargs="+", choices=MODEL_NAMES, default=list(MODEL_NAMES))
    parser.add_argument("--seeds", nargs="+", type=int, help="which seeds (default: 0 to 4, with --short 0 to 2)")
    parser.add_argument("--validated", action="store_true", help="attention's epoch chosen by validation bags")
    parser.add_argument("--short", action="store_true", help="bags of 3 to 7 digits: how many are enough?")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    args = parser.parse_args(arguments)
    if not (args.data / "mnist" / "mnist.npz").is_file():
        parser.error(f"no MNIST in {args.data}: give the folder with --data")
    args.seeds = args.seeds or list(range(SHORT_SEEDS if args.short else SEEDS))
    return args


if __name__ == "__main__":
    main()
