"""Encoders from timm, through its own loader."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..errors import EncoderError
from ..hub import hub_as_reachable, why_not
from ..triton_guard import without_triton
from ._encoder import Encoder, hash_tensors, probe_dimension
from ._features import EncoderInfo
from ._folder import models_folder
from ._known import REMEDY, TRUNCATED_RESNET

_DEFAULT_MPP = 0.5


def load_timm(model_name: str, *, tile_px: int | None, mpp: float | None) -> Encoder:
    """Load an encoder by its timm name, pretrained.

    Weights of timm's own models are taken from the models folder (``timm/<name>.safetensors``) where they lie there,
    so that machines without a network work too; otherwise timm fetches them.

    Parameters
    ----------
    model_name : str
        As timm knows it ("resnet18", "hf-hub:owner/model").
    tile_px : int, optional
        Patch edge in pixels; by default what the model was trained on.
    mpp : float, optional
        Microns per patch pixel; 0.5 by default, since timm does not say.

    Raises
    ------
    EncoderError
        Where timm is missing, does not know the model, or cannot get its weights.
    """
    module, config, source = _made(model_name, num_classes=0)
    tile = tile_px or int(config["input_size"][-1])
    info = EncoderInfo(
        name=f"timm:{model_name}",
        version="",
        weights_hash=hash_tensors(module),
        dim=probe_dimension(module, tile, f"timm:{model_name}"),
        tile_px=tile,
        mpp=mpp or _DEFAULT_MPP,
    )
    return Encoder(
        module,
        info,
        title=f"{model_name} (timm)",
        source=source,
        licence=str(module.pretrained_cfg.get("license") or ""),
        mean=config["mean"],
        std=config["std"],
    )


def load_truncated_resnet(*, tile_px: int | None, mpp: float | None) -> Encoder:
    """Load a ResNet-50 cut after its third block and averaged over the patch: 1024 numbers, as CLAM extracts them.

    Source: Lu et al., Nature Biomedical Engineering 5 (2021) 555-570, Methods; ImageNet weights of torchvision.

    Parameters
    ----------
    tile_px : int, optional
        Patch edge in pixels; 256 by default.
    mpp : float, optional
        Microns per patch pixel; 0.5 by default.

    Raises
    ------
    EncoderError
        Where timm or the weights are missing.
    """
    known = TRUNCATED_RESNET
    model_name = known.hub.removeprefix("timm/")
    module, config, local = _made(model_name, features_only=True, out_indices=(3,))
    pooled = torch.nn.Sequential(module, _Pooled())
    tile = tile_px or known.tile_px
    info = EncoderInfo(
        name=known.name,
        version="",
        weights_hash=hash_tensors(module),
        dim=probe_dimension(pooled, tile, known.name),
        tile_px=tile,
        mpp=mpp or known.mpp,
    )
    return Encoder(
        pooled, info, title=known.title, source=local, licence=known.licence, mean=config["mean"], std=config["std"]
    )


class _Pooled(torch.nn.Module):
    """The mean over the patch of the only feature map."""

    def forward(self, maps: list[Tensor]) -> Tensor:
        return maps[0].mean((2, 3))


def _made(model_name: str, **options: Any) -> tuple[Any, dict[str, Any], str]:
    """Return the network, its data configuration, and where its weights came from."""
    try:
        with without_triton():
            import timm
    except ImportError as err:
        raise EncoderError(f"Encoders of timm need the extra 'encoders'. {REMEDY}") from err
    local = models_folder() / "timm" / f"{model_name}.safetensors"
    overlay = {"file": str(local)} if ":" not in model_name and local.is_file() else None
    try:
        with without_triton(), hub_as_reachable():
            module = timm.create_model(model_name, pretrained=True, pretrained_cfg_overlay=overlay, **options)
    except (RuntimeError, OSError, ValueError) as err:
        raise EncoderError(_explain(model_name, err, str(local))) from err
    return module, timm.data.resolve_model_data_config(module), str(local) if overlay else "timm"


def _explain(name: str, err: Exception, local: str) -> str:
    """Say in one sentence why timm could not make the model, and what to do."""
    if "Unknown model" in str(err):
        return f"timm knows no model {name!r}. Look its name up with timm.list_models()."
    if "No pretrained" in str(err) or "has no pretrained" in str(err):
        return f"timm has no pretrained weights for {name!r}. Choose a model of timm.list_pretrained()."
    # a model of a hub needs its configuration too, which only the hub's own cache keeps
    otherwise = "; they are then kept" if ":" in name else f", or put them at {local}"
    return why_not(repr(name), err, otherwise=otherwise) or (
        f"timm could not make {name!r} ({str(err).splitlines()[0]}). Check the name and the weights at {local}"
    )
