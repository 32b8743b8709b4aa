"""Encoder and pooling as one network, trained end to end in the memory of a few patches."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

from ..errors import EncoderError
from ..features import Encoder, precision, settle
from ..models import BagOutput, MILModel
from ..triton_guard import prepare_optimizers


class DeepMIL(nn.Module):
    r"""An encoder and a pooling trained as one: patches in, the bag's prediction out.

    .. math:: \mathrm{logits} = g\left(\{ (f(x_i) - m) / s \}_{i=1}^{N}\right)

    with the encoder f, the pooling g, and m, s the mean and deviation of the features before training
    (`standardise`); `split` folds them into g's first layer, so that each part can be used on its own.

    For small cohorts whose tissue or stain is far from what the encoder was trained on; features extracted once and a
    pooling trained on them are far cheaper, and come first. Each step passes its patches through the encoder forward,
    forward again and backward; memory is that of the weights, their gradients, AdamW's two moments and the activations
    of `chunk` patches, whatever the bag: activations of each chunk are dropped and computed again on the way back
    (Chen, Xu, Zhang and Guestrin, "Training deep nets with sublinear memory cost", arXiv:1604.06174, 2016), which
    changes no gradient.

    The encoder stays in evaluation mode: statistics of batch norms are frozen, and a patch's feature depends on that
    patch alone, as it will when the trained encoder is used.

    Parameters
    ----------
    encoder : Encoder
        Any with weights that carry gradients; its network is trained in place.
    pooling : MILModel
        Takes the encoder's features.
    chunk : int
        Patches encoded at once.
    checkpointing : bool
        Drop activations and compute them again; False keeps those of the whole bag.

    Raises
    ------
    EncoderError
        Where the encoder has no weights, or carries no gradients to them.
    ValueError
        Where the pooling takes other features, or ``chunk`` is not positive.
    """

    colour_mean: Tensor
    colour_std: Tensor
    feature_mean: Tensor
    feature_std: Tensor

    def __init__(self, encoder: Encoder, pooling: MILModel, *, chunk: int = 32, checkpointing: bool = True) -> None:
        super().__init__()
        if pooling.card.in_features != encoder.info.dim:
            raise ValueError(f"the pooling takes {pooling.card.in_features} numbers, the encoder {encoder.info.dim}")
        if chunk < 1:
            raise ValueError(f"chunk must be positive, not {chunk}")
        self.encoder, self.pooling = encoder.module, pooling
        self.chunk, self.checkpointing = chunk, checkpointing
        self._precision = {device: precision(encoder, device) for device in ("cpu", "cuda", "mps")}
        for name, values in zip(("colour_mean", "colour_std"), encoder.colours, strict=True):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1))
        self.register_buffer("feature_mean", torch.zeros(encoder.info.dim))
        self.register_buffer("feature_std", torch.ones(encoder.info.dim))
        check_trainable(encoder)
        for weight in self.encoder.parameters():
            weight.requires_grad_(weight.is_floating_point())
        self.eval()

    def forward(self, images: Tensor, scores: bool = False) -> BagOutput:
        """Predict one bag.

        Parameters
        ----------
        images : (N, 3, H, W) uint8, or float in [0, 1]
            The patches, RGB; they may stay on the CPU, a chunk at a time is moved.
        scores : bool
            As in `MILModel.forward`.

        Returns
        -------
        BagOutput
            Of the pooling.
        """
        output: BagOutput = self.pooling(self.standardised(images), scores=scores)
        return output

    def loss(self, images: Tensor, target: int, criterion: Callable[[Tensor, int], Tensor]) -> Tensor:
        """Return the training loss of one bag, the pooling's own; see `MILModel.loss`."""
        return self.pooling.loss(self.standardised(images), target, criterion)

    def features(self, images: Tensor) -> Tensor:
        """Return the encoder's features (N, D) float32, encoded a chunk at a time."""
        if images.ndim != 4 or images.shape[1] != 3 or len(images) == 0:
            raise ValueError(f"images must be (N >= 1, 3, H, W), not {tuple(images.shape)}")
        chunks = torch.split(images, self.chunk)
        if not (self.checkpointing and torch.is_grad_enabled()):
            return torch.cat([self._encode(part) for part in chunks])
        prepare_optimizers()  # what a checkpoint loads at its first use is what an optimizer loads
        # TorchScript takes the exception by which a checkpoint would end its recomputation early for a failure
        with set_checkpoint_early_stop(False):
            return torch.cat([checkpoint(self._encode, part, use_reentrant=False) for part in chunks])

    def standardised(self, images: Tensor) -> Tensor:
        """Return the features (N, D) as the pooling takes them in training."""
        return (self.features(images) - self.feature_mean) / self.feature_std

    def standardise(self, mean: Tensor, std: Tensor) -> None:
        """Set mean and deviation (D,) of the features."""
        self.feature_mean.copy_(mean)
        self.feature_std.copy_(std)

    def split(self) -> MILModel:
        """Return the pooling, on the CPU, so that it takes the encoder's features as they are; ends the training."""
        self.to("cpu").eval()
        self.pooling.absorb_standardisation(self.feature_mean.double(), self.feature_std.double())
        self.standardise(torch.zeros_like(self.feature_mean), torch.ones_like(self.feature_std))
        return self.pooling

    def train(self, mode: bool = True) -> DeepMIL:
        """Put the pooling into training mode, or out of it; the encoder stays in evaluation mode."""
        self.training = mode
        self.pooling.train(mode)
        settle(self.encoder)
        return self

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.feature_mean.device

    @property
    def scaled(self) -> bool:
        """Whether the loss must be scaled up for small gradients to survive: float16, on GPUs without bfloat16."""
        return self._precision[self.device.type] == torch.float16

    def parameter_groups(self, encoder_lr: float, lr: float) -> Iterator[dict[str, object]]:
        """Yield what an optimizer takes: the encoder's weights and the pooling's, each with its learning rate."""
        for module, rate in ((self.encoder, encoder_lr), (self.pooling, lr)):
            yield {"params": [p for p in module.parameters() if p.requires_grad], "lr": rate}

    def _encode(self, images: Tensor) -> Tensor:
        colours = images.to(self.device, torch.float32)
        if not images.is_floating_point():
            colours = colours / 255
        colours = (colours - self.colour_mean) / self.colour_std
        half = self._precision[self.device.type]
        mixed = half != torch.float32
        # TorchScript must not compile between a chunk's first pass and its second, which would then differ
        as_written = torch.jit.optimized_execution(False)  # type: ignore[attr-defined]
        with torch.autocast("cuda", half if mixed else None, enabled=mixed), as_written:
            features: Tensor = self.encoder(colours)
        return features.float()


def check_trainable(encoder: Encoder) -> None:
    """Refuse an encoder that cannot be trained, by trying.

    Raises
    ------
    EncoderError
        Where it has no weights, or none of them receives a gradient.
    """
    weights = [p for p in encoder.module.parameters() if p.is_floating_point()]
    name = encoder.info.name
    remedy = "Choose one of timm's (timm:<model>), a timm folder, or a TorchScript file that was not frozen."
    if not weights:
        raise EncoderError(f"The encoder {name} has no weights to be trained. {remedy}")
    edge = encoder.info.tile_px
    before = [p.requires_grad for p in weights]
    for weight in weights:
        weight.requires_grad_(True)
    noise = torch.rand(2, 3, edge, edge, generator=torch.Generator().manual_seed(0)).to(weights[0].device)
    try:
        with torch.enable_grad():
            found = torch.autograd.grad(encoder(noise).square().sum(), weights, allow_unused=True)
    except RuntimeError as err:
        said = str(err).strip().splitlines()[0]
        raise EncoderError(f"The encoder {name} carries no gradients to its weights ({said}). {remedy}") from err
    finally:
        for weight, was in zip(weights, before, strict=True):
            weight.requires_grad_(was)
    if not any(gradient is not None for gradient in found):
        raise EncoderError(f"The encoder {name} carries no gradients to its weights. {remedy}")
