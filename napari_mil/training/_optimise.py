"""Steps: the optimisers of the recipes, short floats, and gradients that are cut to a length."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..triton_guard import prepare_optimizers

if TYPE_CHECKING:
    from ._recipe import Recipe

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Lookahead:
    r"""An optimiser whose weights are drawn back to slow ones.

    Every k steps :math:`\phi \leftarrow \phi + \alpha (\theta - \phi), \; \theta \leftarrow \phi`.

    Zhang, Lucas, Hinton and Ba, "Lookahead optimizer: k steps forward, 1 step back", NeurIPS 2019, algorithm 1.

    Parameters
    ----------
    fast : torch Optimizer
        Moves the fast weights :math:`\theta`.
    k : int
        Fast steps between two slow ones.
    alpha : float
        Share of the way that the slow weights go.
    """

    def __init__(self, fast: torch.optim.Optimizer, k: int = 6, alpha: float = 0.5) -> None:
        self.fast, self.k, self.alpha = fast, k, alpha
        self._steps = 0
        self._slow = [weight.detach().clone() for weight in self._weights()]

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Those of the fast optimiser."""
        return self.fast.param_groups

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.fast.zero_grad()

    @torch.no_grad()
    def step(self) -> None:
        """Take a fast step, and every k-th time a slow one."""
        self.fast.step()
        self._steps += 1
        if self._steps % self.k == 0:
            for slow, weight in zip(self._slow, self._weights(), strict=True):
                slow.add_(weight - slow, alpha=self.alpha)
                weight.copy_(slow)

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` takes."""
        return {"fast": self.fast.state_dict(), "slow": self._slow, "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.fast.load_state_dict(state["fast"])
        self._steps = state["steps"]
        for slow, saved in zip(self._slow, state["slow"], strict=True):
            slow.copy_(saved)

    def _weights(self) -> Iterable[Tensor]:
        return (weight for group in self.fast.param_groups for weight in group["params"])


class Stepper:
    """Takes the steps of a fit: optimiser, precision and clipping in one.

    Parameters
    ----------
    model : nn.Module
        On its device.
    recipe : Recipe
        Says which.

    Raises
    ------
    ModelError
        If the precision is none for the model's device.
    """

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        prepare_optimizers()
        self._weights = list(model.parameters())
        self._kind = self._weights[0].device.type
        check_precision(recipe.precision, self._kind)
        self._dtype = _DTYPES[recipe.precision]
        self._clip_norm = recipe.clip_norm
        self.optimiser = _OPTIMISERS[recipe.optimiser](
            self._weights, lr=recipe.lr, weight_decay=recipe.weight_decay, betas=recipe.betas
        )
        # gradients of float16 underflow unless the loss is scaled; the others have the range of float32
        self._scaler = torch.amp.GradScaler(self._kind, enabled=self._dtype == torch.float16)

    def set_rate(self, lr: float) -> None:
        """Set the learning rate."""
        for group in self.optimiser.param_groups:
            group["lr"] = lr

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context to compute losses in."""
        return torch.autocast(self._kind, self._dtype, enabled=self._dtype != torch.float32)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss."""
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def step(self) -> None:
        """Take a step along the gradients, and forget them."""
        if self._clip_norm:
            self._scaler.unscale_(self.optimiser)  # type: ignore[arg-type]  # Lookahead has what is asked of it
            nn.utils.clip_grad_norm_(self._weights, self._clip_norm)
        self._scaler.step(self.optimiser)  # type: ignore[arg-type]
        self._scaler.update()
        self.optimiser.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` takes."""
        return {"optimiser": self.optimiser.state_dict(), "scaler": self._scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.optimiser.load_state_dict(state["optimiser"])
        if self._scaler.is_enabled():
            self._scaler.load_state_dict(state["scaler"])


def check_precision(precision: str, device: str) -> None:
    """Refuse a precision that a device does not train in.

    Parameters
    ----------
    precision : str
        As in `Recipe`.
    device : str
        Torch device or its type.

    Raises
    ------
    ModelError
        If it is float16 and the device none of CUDA, or bfloat16 and the device neither CUDA nor the CPU.
    """
    kinds = {"float32": (device,), "bfloat16": ("cuda", "cpu"), "float16": ("cuda",)}[precision]
    if not device.startswith(kinds):
        raise ModelError(
            f"Training in {precision} is not possible on {device}, only on {' or '.join(kinds)}. "
            "Choose float32, or another device."
        )


def _lookahead_radam(weights: list[nn.Parameter], **options: Any) -> Lookahead:
    return Lookahead(torch.optim.RAdam(weights, **options))


_OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer | Lookahead]] = {
    "adamw": partial(torch.optim.AdamW, fused=True),  # all weights in one call: threads are joined once a step
    "adam": partial(torch.optim.Adam, fused=True),
    "lookahead-radam": _lookahead_radam,
}
