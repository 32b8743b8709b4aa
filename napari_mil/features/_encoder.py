"""What an encoder is: patches in, one feature vector each out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..errors import EncoderError
from ._features import EncoderInfo


class Encoder:
    """A function of a patch with a name: colours in, features out, its normalisation inside.

    Parameters
    ----------
    module : torch.nn.Module
        Takes (B, 3, T, T) float32, returns (B, D).
    info : EncoderInfo
        What is remembered of it.
    title : str
        What a person reads in a list.
    source : str
        Where it comes from: a file, or who published it.
    licence : str
        Terms of use in short; empty where unknown.
    mean, std : three floats
        Colours are normalised with these before the module sees them.

    Attributes
    ----------
    origin : str
        What `load_encoder` was given to load it; empty for one that was made otherwise.
    """

    def __init__(
        self,
        module: nn.Module,
        info: EncoderInfo,
        *,
        title: str,
        source: str,
        licence: str,
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0),
    ) -> None:
        self.info, self.title, self.source, self.licence = info, title, source, licence
        self.parameter_count = sum(p.numel() for p in module.parameters())
        self.origin = ""
        self.device = torch.device("cpu")
        self._module = settle(module)
        self._mean = torch.tensor(mean, dtype=torch.float32).view(3, 1, 1)
        self._std = torch.tensor(std, dtype=torch.float32).view(3, 1, 1)
        self._plain = bool((self._mean == 0).all() and (self._std == 1).all())

    @property
    def module(self) -> nn.Module:
        """The network itself: takes (B, 3, T, T) float32 colours after `colours`, returns (B, D)."""
        return self._module

    @property
    def colours(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation (R, G, B) by which colours in [0, 1] are normalised for the network."""
        mean, std = (tuple(float(f"{v:.7g}") for v in t.flatten().tolist()) for t in (self._mean, self._std))
        return mean, std

    def to(self, device: str | torch.device) -> Encoder:
        """Move the encoder to a device and return it."""
        self.device = torch.device(device)
        self._module = self._module.to(self.device)
        self._mean, self._std = self._mean.to(self.device), self._std.to(self.device)
        return self

    def __call__(self, batch: Tensor) -> Tensor:
        """Encode a batch of patches.

        Parameters
        ----------
        batch : (B, 3, T, T) float32
            Colours (R, G, B) in [0, 1], on the encoder's device.

        Returns
        -------
        (B, D) float32
            Features, on the same device.
        """
        return self._run(batch if self._plain else (batch - self._mean) / self._std)

    def encode_bytes(self, pixels: Tensor) -> Tensor:
        """Encode patches as they are read, with less memory moved than by way of `__call__`.

        Parameters
        ----------
        pixels : (B, T, T, 3) uint8
            RGB, on the encoder's device.

        Returns
        -------
        (B, D) float32
            Features, on the same device.
        """
        # contiguous on every device: many networks take a view of their input as if it were
        batch = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format).div_(255)
        return self._run(batch if self._plain else batch.sub_(self._mean).div_(self._std))

    def _run(self, batch: Tensor) -> Tensor:
        output: Tensor = self._module(batch)
        return output.float()

    def __repr__(self) -> str:
        info = self.info
        return f"Encoder({info.name!r}, {info.dim} numbers from {info.tile_px} px at {info.mpp:g} um/px)"


def settle(module: nn.Module) -> nn.Module:
    """Put a module, and all in it that has a mode, into evaluation mode, and return it.

    Programs exported by PyTorch settled theirs at their export and refuse to be told.
    """
    try:
        module.eval()
    except NotImplementedError:
        module.training = False
        for part in module.children():
            settle(part)
    return module


FAILURES = (RuntimeError, TypeError, ValueError, IndexError, AssertionError)
"""What networks raise on an input that they were not made for."""


def probe_dimension(module: nn.Module, tile_px: int, name: str) -> int:
    """Encode blank patches and return the number of features, or say in a sentence what does not fit.

    Parameters
    ----------
    module : torch.nn.Module
        To be tried; on the CPU.
    tile_px : int
        Patch edge in pixels.
    name : str
        For the message.

    Returns
    -------
    int
        Features a patch.

    Raises
    ------
    EncoderError
        Where the module fails on such patches or returns anything but one finite row of numbers a patch.
    """
    settle(module)  # in training mode even a probe would change what it has learned
    try:
        output = _of_blank(module, 2, tile_px)
    except FAILURES as err:
        raise EncoderError(
            f"Encoder {name} does not take patches of {tile_px} x {tile_px} px ({_last_line(err)}). "
            "Give the patch size that it was made for with --tile-px."
        ) from err
    try:
        _of_blank(module, 3, tile_px)
    except FAILURES as err:
        raise EncoderError(
            f"Encoder {name} takes two patches at once but not three ({_last_line(err)}). "
            "Export it again with a batch of any size (dynamic_shapes)."
        ) from err
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != 2:
        found = f"a tensor of shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise EncoderError(
            f"Encoder {name} returned {found} for two patches instead of one row of features each. "
            "Export the part of the network that ends in a feature vector."
        )
    if not torch.isfinite(output.float()).all():
        raise EncoderError(f"Encoder {name} returned numbers that are not finite for a blank patch. Export it again.")
    return int(output.shape[1])


def _of_blank(module: nn.Module, count: int, tile_px: int) -> object:
    with torch.inference_mode():
        return module(torch.full((count, 3, tile_px, tile_px), 0.9))


def _last_line(err: Exception) -> str:
    return str(err).strip().splitlines()[-1] if str(err).strip() else type(err).__name__


def hash_tensors(module: nn.Module) -> str:
    """Return the first 16 hex digits of the SHA-256 over a module's named tensors, in order of name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
