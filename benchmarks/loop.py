"""What Lightning would cost: an epoch of the same steps in a plain loop, through Fabric, and by its Trainer.

One bag a step, gated attention, AdamW, one thread; the loops take turns, times are processor seconds. Run
``python -m benchmarks.loop`` with the package lightning installed; the last line of output is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from napari_mil.models import MILModel, create_model
from napari_mil.training import RECIPES
from napari_mil.training._losses import criterion
from napari_mil.triton_guard import prepare_optimizers, without_triton

LOSS = criterion(RECIPES["default"])
ONE_CPU = {"accelerator": "cpu", "devices": 1}
Bag = tuple[Tensor, int]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bags", type=int, default=200, help="number of bags")
    parser.add_argument("--patches", type=int, nargs="+", default=[10, 100, 1000], help="patches of each bag")
    parser.add_argument("--features", type=int, default=512, help="numbers of each patch")
    parser.add_argument("--rounds", type=int, default=3, help="epochs of each")
    args = parser.parse_args()
    torch.set_num_threads(1)
    prepare_optimizers()
    results = {}
    for patches in args.patches:
        bags = [(torch.randn(patches, args.features), row % 2) for row in range(args.bags)]
        results[patches] = _compare(bags, args.rounds)
        print(patches, json.dumps(results[patches]), flush=True)
    print(json.dumps({"benchmark": "loop", **vars(args), "unit": "processor seconds an epoch", "results": results}))


def _compare(bags: list[Bag], rounds: int) -> dict[str, float]:
    """Time epochs in turn, the first of each unseen; return medians, and medians of what is spent more than plain."""
    with without_triton():
        loops = {"plain": plain(bags), "fabric": fabric(bags), "trainer": trainer(bags)}
    times = [{name: loop() for name, loop in loops.items()} for _ in range(rounds + 1)][1:]
    found = {name: round(statistics.median(time[name] for time in times), 3) for name in loops}
    for name in ("fabric", "trainer"):
        found[f"{name}_more"] = round(statistics.median(time[name] / time["plain"] - 1 for time in times), 3)
    return found


def _fresh(bags: list[Bag]) -> tuple[MILModel, torch.optim.Optimizer]:
    model = create_model("gated-attention", in_features=bags[0][0].shape[1], n_classes=2, seed=0).train()
    return model, torch.optim.AdamW(model.parameters(), lr=1e-4)


def plain(bags: list[Bag]) -> Callable[[], float]:
    """Return what times an epoch of a plain loop."""
    model, optimiser = _fresh(bags)
    return lambda: _epoch(bags, model, optimiser, lambda loss: loss.backward())


def fabric(bags: list[Bag]) -> Callable[[], float]:
    """Return what times an epoch of the same loop through Fabric."""
    from lightning.fabric import Fabric

    made = Fabric(**ONE_CPU)
    made.launch()
    model, optimiser = made.setup(*_fresh(bags))
    model.mark_forward_method("loss")
    return lambda: _epoch(bags, model, optimiser, made.backward)


def _epoch(bags: list[Bag], model: Any, optimiser: Any, backward: Callable[[Tensor], object]) -> float:
    start = time.process_time()
    for row in torch.randperm(len(bags)).tolist():
        optimiser.zero_grad()
        backward(model.loss(*bags[row], LOSS))
        optimiser.step()
    return time.process_time() - start


def trainer(bags: list[Bag]) -> Callable[[], float]:
    """Return what times an epoch by Lightning's Trainer, without starting it and ending it."""
    import lightning

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    model, optimiser = _fresh(bags)

    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def training_step(self, batch: Bag, _: int) -> Tensor:
            return self.model.loss(*batch, LOSS)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return optimiser

        def on_train_epoch_start(self) -> None:
            self.start = time.process_time()

        def on_train_epoch_end(self) -> None:
            self.seconds = time.process_time() - self.start

    module = Module()
    loader = torch.utils.data.DataLoader(bags, batch_size=None, shuffle=True)  # type: ignore[arg-type]
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)

    def epoch() -> float:
        lightning.Trainer(max_epochs=1, **quiet, **ONE_CPU).fit(module, loader)
        return float(module.seconds)

    return epoch


if __name__ == "__main__":
    main()
