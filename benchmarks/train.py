"""How fast a pooling is trained: an epoch of `fit` against an epoch of torchmil's Trainer, on the same bags.

Both run gated attention of the same sizes with AdamW, one bag a step, one thread, class labels of two. Each epoch of
ours includes standardising the features and, as theirs, the validation bags. The peers take turns; times are processor
seconds of this process, since wall clocks of shared machines vary.

Run ``python -m benchmarks.train`` (extra ``torchmil``); the last line of output is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_mil.models import create_model
from napari_mil.training import RECIPES, fit
from napari_mil.triton_guard import prepare_optimizers, without_triton

Precision = Literal["float32", "bfloat16"]
HIDDEN, ATTENTION = 512, 128
SHARE_VAL = 0.2


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bags", type=int, default=100, help="number of bags; a fifth of them validates")
    parser.add_argument("--patches", type=int, nargs="+", default=[100, 1000, 5000], help="patches of each bag")
    parser.add_argument("--features", type=int, default=512, help="numbers of each patch")
    parser.add_argument("--rounds", type=int, default=5, help="epochs of each peer")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of our training")
    args = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    for patches in args.patches:
        draws = np.random.default_rng(0)
        bags = [draws.standard_normal((patches, args.features), dtype=np.float32) for _ in range(args.bags)]
        results[patches] = _compare(bags, args.rounds, args.precision)
        print(patches, json.dumps(results[patches]), flush=True)
    print(json.dumps({"benchmark": "train", **vars(args), "unit": "processor seconds an epoch", "results": results}))


def _compare(bags: list[NDArray[np.float32]], rounds: int, precision: Precision) -> dict[str, float]:
    """Time epochs in turn, the first of each unseen; return medians and the median of the ratios."""
    ours, theirs = our_epochs(bags, rounds + 1, precision), their_epochs(bags)
    pairs = [(_timed(ours), _timed(theirs)) for _ in range(rounds + 1)][1:]
    return {
        "napari_mil": round(statistics.median(own for own, _ in pairs), 3),
        "torchmil": round(statistics.median(their for _, their in pairs), 3),
        "ratio": round(statistics.median(own / their for own, their in pairs), 3),
    }


def _timed(epoch: Callable[[], object]) -> float:
    start = time.process_time()
    epoch()
    return time.process_time() - start


def our_epochs(bags: list[NDArray[np.float32]], epochs: int, precision: Precision) -> Callable[[], object]:
    """Return what runs one epoch of our training."""
    sizes = {"hidden": HIDDEN, "attention_dim": ATTENTION}
    model = create_model("gated-attention", in_features=bags[0].shape[1], n_classes=2, seed=0, **sizes)
    rows = np.arange(len(bags))
    n_val = int(len(bags) * SHARE_VAL)
    recipe = replace(RECIPES["default"], patience=None, epochs=epochs, precision=precision)
    fitting = fit(model, bags, rows % 2, rows[n_val:], rows[:n_val], recipe)
    return lambda: next(fitting)


def their_epochs(bags: list[NDArray[np.float32]]) -> Callable[[], object]:
    """Return what runs one epoch of torchmil's training."""
    with without_triton():
        import torchmetrics
        from tensordict import TensorDict
        from torch.utils.data import DataLoader
        from torchmil.data import collate_fn
        from torchmil.models import ABMIL
        from torchmil.utils import Trainer
    features = bags[0].shape[1]
    torch.manual_seed(0)
    projection = nn.Sequential(nn.Linear(features, HIDDEN), nn.ReLU())
    model = ABMIL((features,), att_dim=ATTENTION, gated=True, feat_ext=projection)
    prepare_optimizers()
    recipe = RECIPES["default"]
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    trainer = Trainer(
        model,
        optimiser,
        metrics_dict={"auroc": torchmetrics.AUROC(task="binary")},
        obj_metric="auroc",
        device="cpu",
        disable_pbar=True,
        verbose=False,
    )
    items = [
        TensorDict({"X": torch.from_numpy(bag), "Y": torch.tensor(row % 2).float()}) for row, bag in enumerate(bags)
    ]
    n_val = int(len(bags) * SHARE_VAL)
    train = DataLoader(items[n_val:], batch_size=1, shuffle=True, collate_fn=collate_fn)  # type: ignore[arg-type]
    val = DataLoader(items[:n_val], batch_size=1, collate_fn=collate_fn)  # type: ignore[arg-type]
    return lambda: trainer.train(1, train, val)


if __name__ == "__main__":
    main()
