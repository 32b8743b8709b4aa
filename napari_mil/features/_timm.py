"""Encoders from timm, through its own loader."""

from __future__ import annotations

from ..errors import EncoderError
from ..triton_guard import without_triton
from ._encoder import Encoder, hash_tensors, probe_dimension
from ._features import EncoderInfo
from ._folder import models_folder

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
    try:
        with without_triton():
            import timm
    except ImportError as err:
        raise EncoderError(
            "Encoders of timm need the extra 'encoders'. Install it with: pip install 'napari-mil[encoders]'"
        ) from err
    local = models_folder() / "timm" / f"{model_name}.safetensors"
    overlay = {"file": str(local)} if ":" not in model_name and local.is_file() else None
    try:
        module = timm.create_model(model_name, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=0)
    except (RuntimeError, OSError, ValueError) as err:
        raise EncoderError(_explain(model_name, err, str(local))) from err
    config = timm.data.resolve_model_data_config(module)
    tile = tile_px or int(config["input_size"][-1])
    info = EncoderInfo(
        name=f"timm:{model_name}",
        version="",
        weights_hash=hash_tensors(module),
        dim=probe_dimension(module.eval(), tile, f"timm:{model_name}"),
        tile_px=tile,
        mpp=mpp or _DEFAULT_MPP,
    )
    return Encoder(
        module,
        info,
        title=f"{model_name} (timm)",
        source=str(local) if overlay else "timm",
        licence=str(module.pretrained_cfg.get("license") or ""),
        mean=config["mean"],
        std=config["std"],
    )


def _explain(name: str, err: Exception, local: str) -> str:
    """Say in one sentence why timm could not make the model, and what to do."""
    kind = " ".join(cls.__name__ for cls in type(err).__mro__)
    if "Unknown model" in str(err):
        return f"timm knows no model {name!r}. Look its name up with timm.list_models()."
    if "No pretrained" in str(err) or "has no pretrained" in str(err):
        return f"timm has no pretrained weights for {name!r}. Choose a model of timm.list_pretrained()."
    if "Gated" in kind or "401" in str(err) or "403" in str(err):
        return (
            f"The weights of {name!r} are given out on request only. Ask for access on its Hugging Face page and sign "
            "in with: hf auth login"
        )
    if any(word in kind for word in ("Connect", "Timeout", "Offline", "EntryNotFound", "HTTP", "Http")):
        # a model of a hub needs its configuration too, which only the hub's own cache keeps
        otherwise = "; they are then kept" if ":" in name else f", or put them at {local}"
        return f"The weights of {name!r} could not be fetched. Connect to the internet once{otherwise}."
    return f"timm could not make {name!r} ({str(err).splitlines()[0]}). Check the name and the weights at {local}"
