"""Tissue by networks that were trained for it, through the package lazyslide-models: optional, never by default."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..errors import TilingError
from ..hub import hub_as_reachable, why_not
from ..triton_guard import without_triton

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..slides import Slide

_PATCH_PX = 512
_MARGIN_SHARE = 8
"""This part of a patch's edge is left out on either side: there the network lacks what lies beyond."""

_BATCH = 4


@dataclass(frozen=True, slots=True)
class Segmenter:
    """A network that tells tissue from glass.

    Parameters
    ----------
    key : str
        Its name in the registry of lazyslide-models.
    title : str
        Its name for people.
    mpp : float
        Microns per pixel of the patches, 512 pixels wide, that it was trained on.
    licence : str
        Of its weights.
    """

    key: str
    title: str
    mpp: float
    licence: str


SEGMENTERS = {
    # Weng et al., Nature Communications 15 (2024) 10685: a network on H&E at 10 um per pixel
    "grandqc": Segmenter("grandqc-tissue", "GrandQC", 10.0, "CC BY-NC-SA 4.0"),
    # Jaume et al., NeurIPS 2024 (HEST-1k): on H&E and IHC at 1 or 2 um per pixel
    "hest": Segmenter("hest-tissue-segmentation", "HEST", 2.0, "CC BY-NC-SA 4.0"),
}


def why_no_segmenter(method: str) -> str:
    """Return why a segmenter cannot be used here, a sentence with the remedy; empty where it may be.

    Parameters
    ----------
    method : str
        A key of ``SEGMENTERS``.

    Returns
    -------
    str
        Looks for the package only: its weights are fetched at first use.
    """
    if importlib.util.find_spec("lazyslide_models") is not None:
        return ""
    return (
        f"Finding tissue with {SEGMENTERS[method].title} needs the package lazyslide-models. "
        "Install it (pip install lazyslide-models), or let tissue be found by colour."
    )


def tissue_probability(slide: Slide, method: str, shape: tuple[int, int], device: str = "auto") -> NDArray[np.float32]:
    """Return the probability of tissue over a slide.

    Parameters
    ----------
    slide : Slide
        Must know its scale.
    method : str
        A key of ``SEGMENTERS``.
    shape : (int, int)
        (rows, cols) of the result, which spans the slide.
    device : str
        What PyTorch calls it, or "auto".

    Returns
    -------
    (rows, cols) float32
        In [0, 1].

    Raises
    ------
    TilingError
        If the slide has no scale, or package or weights are missing.
    """
    segmenter = SEGMENTERS[method]
    if slide.mpp is None:
        raise TilingError(
            f"{slide.path.name} does not say how large its pixels are, which {segmenter.title} must know. "
            "Give its scale, or let tissue be found by colour."
        )
    network, transform = _loaded(method)
    import torch

    place = _device(torch) if device == "auto" else device
    network.to(place)
    l0_per_px = slide.shape[0] / shape[0], slide.shape[1] / shape[1]
    mean_l0 = sum(l0_per_px) / 2
    patch = max(_MARGIN_SHARE, round(_PATCH_PX * segmenter.mpp / (mean_l0 * sum(slide.mpp) / 2)))
    margin = patch // _MARGIN_SHARE
    found = np.zeros(shape, np.float32)
    for corners in _batches(shape, patch - 2 * margin):
        pictures = [
            slide.read_patch((r - margin) * l0_per_px[0], (c - margin) * l0_per_px[1], patch * mean_l0, _PATCH_PX)
            for r, c in corners
        ]
        batch = torch.stack([transform(picture) for picture in pictures]).to(place)
        with torch.inference_mode():
            out = network.segment(batch)
        names = [str(name).lower() for name in out.classes]
        tissue = out.probability_map[:, names.index("tissue")].float().cpu().numpy()
        for (r, c), values in zip(corners, tissue, strict=True):
            small = np.asarray(Image.fromarray(values).resize((patch, patch), Image.Resampling.BOX))
            inner = small[margin:-margin, margin:-margin][: shape[0] - r, : shape[1] - c]
            found[r : r + inner.shape[0], c : c + inner.shape[1]] = inner
    return found


def _batches(shape: tuple[int, int], step: int) -> Iterator[list[tuple[int, int]]]:
    corners = [(r, c) for r in range(0, shape[0], step) for c in range(0, shape[1], step)]
    for start in range(0, len(corners), _BATCH):
        yield corners[start : start + _BATCH]


def _loaded(method: str) -> tuple[Any, Any]:
    """Return the network and what turns a picture into its input."""
    missing = why_no_segmenter(method)
    if missing:
        raise TilingError(missing)
    segmenter = SEGMENTERS[method]
    try:
        with without_triton():
            import lazyslide_models
        with hub_as_reachable(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks to programmers
            network = lazyslide_models.MODEL_REGISTRY[segmenter.key]()
    except ImportError as err:
        raise TilingError(
            f"{segmenter.title} needs another package ({str(err).strip().splitlines()[-1]}). "
            "Install it, or let tissue be found by colour."
        ) from err
    except (RuntimeError, OSError, ValueError, KeyError) as err:
        reason = why_not(segmenter.title, err, otherwise=", or let tissue be found by colour")
        raise TilingError(
            reason or f"{segmenter.title} could not be made ({str(err).splitlines()[0]}). Update lazyslide-models."
        ) from err
    return network, network.get_transform()


def _device(torch: Any) -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
