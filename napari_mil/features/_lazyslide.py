"""Pathology encoders through the package lazyslide-models, which knows how each is built and fed."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import EncoderError
from ..hub import hub_as_reachable, why_not
from ..triton_guard import without_triton
from ._encoder import Encoder, hash_tensors, probe_dimension
from ._features import EncoderInfo
from ._known import REMEDY, known_encoder


class _Fed(nn.Module):
    """A model of the package with the transform that it asks for, on batches of colours in [0, 1]."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._model = model
        self._transform = model.get_transform()
        network = getattr(model, "model", None)
        if isinstance(network, nn.Module):
            self.network = network  # so that it is moved, counted and hashed with this one

    def forward(self, batch: Tensor) -> Tensor:
        # models without a transform bring a processor of their own, which takes whole colours
        ready = (batch * 255).round().byte() if self._transform is None else self._transform(batch)
        found = self._model.encode_image(ready)
        return found if isinstance(found, Tensor) else torch.as_tensor(found)


def load_lazyslide(name: str, *, tile_px: int | None, mpp: float | None) -> Encoder:
    """Load an encoder by the name that lazyslide-models has for it.

    Parameters
    ----------
    name : str
        Such as "uni2"; see ``_known`` for those whose patches are known.
    tile_px : int, optional
        Patch edge in pixels; by default what its authors use.
    mpp : float, optional
        Microns per patch pixel; likewise.

    Returns
    -------
    Encoder
        On the CPU.

    Raises
    ------
    EncoderError
        Where the package is missing or has no such encoder, its weights cannot be had, or its patches are unknown.
    """
    known = known_encoder(name)
    model_class = _registered(name)
    tile_px, mpp = tile_px or (known.tile_px if known else None), mpp or (known.mpp if known else None)
    if tile_px is None or mpp is None:
        raise EncoderError(
            f"It is not known which patches {name} takes. Give their edge in pixels and their resolution with "
            "--tile-px and --encoder-mpp (microns per pixel)."
        )
    title = known.title if known else name
    module = _Fed(_made(model_class, title))
    info = EncoderInfo(
        name=name,
        version="",
        weights_hash=hash_tensors(module),
        dim=probe_dimension(module, tile_px, name),
        tile_px=tile_px,
        mpp=mpp,
    )
    licence = model_class.license
    return Encoder(
        module,
        info,
        title=title,
        source=str(model_class.hf_url or model_class.github_url or "lazyslide-models"),
        licence=", ".join(licence) if isinstance(licence, list) else str(licence or ""),
    )


def is_registered(name: str) -> bool:
    """Whether the package is installed and has an image encoder of that name; takes seconds to load it."""
    try:
        _registered(name)
    except EncoderError:
        return False
    return True


def _registered(name: str) -> Any:
    try:
        with without_triton():
            import lazyslide_models
    except ImportError as err:
        raise EncoderError(f"The encoder {name} comes through the package lazyslide-models. {REMEDY}") from err
    found = lazyslide_models.MODEL_REGISTRY.get(name)
    if found is None or not hasattr(found, "encode_image"):
        raise EncoderError(f"The package lazyslide-models has no image encoder {name!r}.")
    return found


def _made(model_class: Any, title: str) -> Any:
    try:
        # loading an exported program loads Triton, too
        with without_triton(), hub_as_reachable(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks to programmers
            return model_class()
    except ImportError as err:
        raise EncoderError(f"{title} needs another package: {str(err).strip().splitlines()[-1]}") from err
    except (RuntimeError, OSError, ValueError, KeyError) as err:
        reason = why_not(title, err, otherwise="; they are then kept")
        raise EncoderError(
            reason or f"{title} could not be made ({str(err).splitlines()[0]}). Update lazyslide-models."
        ) from err
