"""Models of the package torchmil, taken as they are: any that needs nothing but the bag."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ..counting import counted
from ..errors import ModelError
from ..triton_guard import without_triton
from ._base import Score
from ._card import ModelCard
from ._registry import TORCHMIL
from ._tokens import TokenModel


class TorchmilPooling(TokenModel):
    r"""A model of torchmil (extra ``torchmil``) behind this package's interface; `torchmil_class` makes one per class.

    .. math::

        \mathrm{logit} = f\left(\frac{x_1 - \mu}{\sigma}, \dots, \frac{x_N - \mu}{\sigma}\right)

    with torchmil's own f and the standardisation :math:`\mu, \sigma` of training (0 and 1 before). torchmil's models
    tell two classes apart by one logit; with two class names the logits are (0, logit), whose softmax is its sigmoid.

    Scores: attention (N,), what the model returns for ``return_att``: most of torchmil's models return it before the
    softmax and some after; it is given after. Models without attention give their instance predictions as instance
    logits. What a patch changes: see `iter_leave_one_out`. Some models draw random numbers when they predict
    (DTFDMIL deals its groups, ProbSmoothABMIL samples its attention); here they draw the same ones each time.

    Trained on the loss of the logit alone; what torchmil's ``compute_loss`` adds for some models is not added.
    """

    torchmil_name: ClassVar[str]
    default_score: ClassVar[str]

    def __init__(self, card: ModelCard) -> None:
        super().__init__(card)
        if len(card.class_names) > 2:
            raise ModelError(f"torchmil's models tell two classes apart, not {len(card.class_names)}.")
        self.register_buffer("mean", torch.empty(card.in_features))
        self.register_buffer("std", torch.empty(card.in_features))
        with torch.random.fork_rng([]):
            self.inner = self._made()

    def initialise(self, generator: torch.Generator) -> None:
        """Make torchmil's model as it makes itself; see `MILModel.initialise`."""
        with torch.random.fork_rng([]):
            torch.manual_seed(generator.initial_seed())
            self.inner = self._made().eval()
        nn.init.zeros_(self.mean)  # type: ignore[arg-type]
        nn.init.ones_(self.std)  # type: ignore[arg-type]

    @torch.no_grad()
    def absorb_standardisation(self, mean: Tensor, std: Tensor) -> None:
        """Standardise within the model; see `MILModel.absorb_standardisation`."""
        self.mean.copy_(self.mean.cpu().double() * std + mean)  # type: ignore[operator]
        self.std.copy_(self.std.cpu().double() * std)  # type: ignore[operator]

    def _made(self) -> nn.Module:
        """Return torchmil's model, on the CPU even where shapes alone are asked for: it fills some buffers itself."""
        made = _find(self.torchmil_name)
        try:
            with torch.device("cpu"):  # copied, since its default modules are shared by all models
                inner: nn.Module = deepcopy(made(in_shape=(self.card.in_features,), **self.card.config))
        except (TypeError, ValueError, AssertionError, RuntimeError) as error:
            raise ModelError(f"torchmil's {self.torchmil_name} cannot be made with these sizes: {error}.") from error
        return inner

    def _embed(self, rows: Tensor) -> Tensor:
        return (rows - self.mean) / self.std  # type: ignore[operator]

    def _logits(self, h: Tensor) -> Tensor:
        return self._by_class(self._run(h))

    def _run(self, h: Tensor, **asked: bool) -> Tensor:
        needs = {"mask": h.new_ones(h.shape[:2])} if _how(type(self.inner)) == "return_inst_cam" else {}
        with _same_draws(self.training, self._dropout_is_on()):
            answer: Tensor = self.inner(h, **needs, **asked)
        return answer

    def _dropout_is_on(self) -> bool:
        return any(layer.training and isinstance(layer, nn.modules.dropout._DropoutNd) for layer in self.modules())

    def _by_class(self, logit: Tensor) -> Tensor:
        """Return one logit for each of the bags, (B,), as logits (B, C)."""
        logit = logit.reshape(-1, 1)
        return torch.cat([torch.zeros_like(logit), logit], dim=1) if len(self.card.class_names) == 2 else logit

    def _scores(self, h: Tensor) -> tuple[Tensor, dict[str, Score]]:
        logit, raw = self._run(h[None], **{_how(type(self.inner)): True})
        if logit.numel() != 1 or raw.numel() != len(h):
            raise ModelError(
                f"torchmil's {self.torchmil_name} gives {counted(logit.numel(), 'prediction')} and "
                f"{counted(raw.numel(), 'score')} for a bag of {counted(len(h), 'patch')}, which are not one "
                "each. Choose another of its models."
            )
        raw = raw.detach().reshape(-1).float().cpu()
        if self.default_score == "instance_logit":
            return self._by_class(logit)[0], {"instance_logit": Score(self._by_class(raw).T, "instance_logit")}
        shares = bool((raw >= 0).all()) and abs(float(raw.sum()) - 1) < 1e-4
        return self._by_class(logit)[0], {"attention": Score(raw if shares else torch.softmax(raw, 0), "attention")}


@cache
def torchmil_class(name: str) -> type[TorchmilPooling]:
    """Return the pooling that stands for one of torchmil's models.

    Parameters
    ----------
    name : str
        ``torchmil:<Class>``.

    Returns
    -------
    type
        A `TorchmilPooling` whose sizes are those that the class takes.

    Raises
    ------
    ModelError
        If torchmil is not installed, has no such model, or the model needs more than the bag.
    """
    made = _find(name.removeprefix(TORCHMIL))
    default = "attention" if _how(made) == "return_att" else "instance_logit"
    fields = {"torchmil_name": made.__name__, "defaults": _sizes(made), "default_score": default}
    return type(f"Torchmil{made.__name__}", (TorchmilPooling,), fields)


def _find(name: str) -> type[nn.Module]:
    try:
        with without_triton():
            import torchmil.models as theirs
    except ImportError as error:
        raise ModelError(
            f"The model {TORCHMIL}{name} needs the package torchmil. Install it: pip install 'napari-mil[torchmil]'."
        ) from error
    known = {
        key: value
        for key, value in vars(theirs).items()
        if inspect.isclass(value) and issubclass(value, nn.Module) and key not in ("MILModel", "MILModelWrapper")
    }
    if name not in known:
        raise ModelError(f"torchmil has no model {name!r}. It has: {', '.join(sorted(known))}.")
    needed = _needed(known[name], ("self", "in_shape")) + _needed(known[name].forward, ("self", "X"))
    if needed:
        raise ModelError(f"torchmil's {name} needs more than the bag ({', '.join(needed)}), so it cannot be used here.")
    return known[name]


def _needed(function: object, given: tuple[str, ...]) -> list[str]:
    parameters = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    return [p.name for p in parameters if p.default is p.empty and p.name not in given and p.kind is not p.VAR_KEYWORD]


def _how(made: type[nn.Module]) -> str:
    """Return the argument by which a torchmil model is asked for numbers per patch."""
    parameters = inspect.signature(made.forward).parameters
    for name in ("return_att", "return_inst_pred", "return_inst_cam"):
        if name in parameters:
            return name
    raise ModelError(f"torchmil's {made.__name__} gives no score per patch, so there would be no map.")


def _sizes(made: type[nn.Module]) -> dict[str, int | float | str]:
    parameters = inspect.signature(made).parameters.values()
    return {p.name: p.default for p in parameters if isinstance(p.default, bool | int | float | str)}


@contextmanager
def _same_draws(training: bool, dropout: bool) -> Iterator[None]:
    """Let a model draw the same random numbers at every prediction, and leave the global generators as they were.

    In a pass with dropout on, torch's global generator, which the pass has seeded, decides which.
    """
    if training:
        yield
        return
    seed = int(torch.randint(2**31, ())) if dropout else 0
    before = np.random.get_state()  # noqa: NPY002 - torchmil draws from numpy's global generator
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(before)  # noqa: NPY002
