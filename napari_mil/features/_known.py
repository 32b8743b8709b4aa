"""Which encoders of others are known by name: where they come from, what they take, and on what terms.

Patch sizes and resolutions are those that their authors, or TRIDENT for them, feed: the encoders state none. The rest
is what the package lazyslide-models, through which they are loaded, says of them (held together by a test).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

REMEDY = "Install it with: pip install 'napari-mil[encoders]'"


@dataclass(frozen=True, slots=True)
class KnownEncoder:
    """An encoder of others.

    Parameters
    ----------
    name : str
        What `load_encoder` takes.
    title : str
        What a person reads.
    hub : str
        Its repository on the Hugging Face hub, "owner/name".
    licence : str
        Terms of use in short.
    gated : bool
        Whether its weights are given out on request only.
    dim : int
        Features a patch.
    tile_px : int
        Patch edge in pixels.
    mpp : float
        Microns per patch pixel.
    parameters : float
        Millions of parameters.
    needs : str
        A module that it needs besides, empty where none.
    file : str
        A pattern for the files of the repository that are its weights.
    """

    name: str
    title: str
    hub: str
    licence: str
    gated: bool
    dim: int
    tile_px: int
    mpp: float
    parameters: float
    needs: str = ""
    file: str = "*"


_ND = "CC-BY-NC-ND-4.0"
_OWKIN = "Owkin non-commercial license"
_LUNIT = "lunit-non-commercial"
_GPL_HUB = "RendeiroLab/LazySlide-models-gpl"

TRUNCATED_RESNET = KnownEncoder(
    "resnet50_trunc",
    "ResNet-50 of CLAM",
    "timm/resnet50.tv_in1k",
    "bsd-3-clause",
    False,
    1024,
    256,
    0.5,
    8.5,
)

PATHOLOGY: tuple[KnownEncoder, ...] = (
    KnownEncoder("chief", "CHIEF", _GPL_HUB, "AGPL-3.0", False, 768, 256, 1.0, 27.5, file="CHIEF/*"),
    KnownEncoder("conch", "CONCH", "MahmoodLab/conch", _ND, True, 512, 512, 0.5, 395.2, "conch"),
    KnownEncoder("conch_v1.5", "CONCH 1.5", "MahmoodLab/TITAN", _ND, True, 768, 512, 0.5, 158.9),
    KnownEncoder("ctranspath", "CTransPath", _GPL_HUB, "GPL-3.0", False, 768, 256, 1.0, 27.5, file="CTransPath/*"),
    KnownEncoder(
        "genbio-pathfm",
        "GenBio-PathFM",
        "genbio-ai/genbio-pathfm",
        "GenBio AI Community License",
        False,
        4608,
        224,
        0.5,
        1100,
    ),
    KnownEncoder(
        "gigapath",
        "Prov-GigaPath",
        "prov-gigapath/prov-gigapath",
        "Apache 2.0 with conditions",
        True,
        1536,
        256,
        0.5,
        1130,
    ),
    KnownEncoder("gpfm", "GPFM", "majiabo/GPFM", "CC BY-NC-ND 4.0", False, 1024, 224, 0.5, 303),
    KnownEncoder("h-optimus-0", "H-optimus-0", "bioptimus/H-optimus-0", "Apache 2.0", False, 1536, 224, 0.5, 1130),
    KnownEncoder("h-optimus-1", "H-optimus-1", "bioptimus/H-optimus-1", _ND, True, 1536, 224, 0.5, 1130),
    KnownEncoder("h0-mini", "H0-mini", "bioptimus/H0-mini", _ND, True, 1536, 224, 0.5, 85.7),
    KnownEncoder("hibou-b", "Hibou-B", "histai/hibou-b", "Apache 2.0", True, 768, 224, 0.5, 85.7),
    KnownEncoder("hibou-l", "Hibou-L", "histai/hibou-L", "Apache 2.0", True, 1024, 224, 0.5, 303.7),
    KnownEncoder(
        "lunit-dino-s8",
        "Lunit DINO ViT-S/8",
        "1aurent/vit_small_patch8_224.lunit_dino",
        _LUNIT,
        False,
        384,
        224,
        0.5,
        21.7,
    ),
    KnownEncoder(
        "lunit-dino-s16",
        "Lunit DINO ViT-S/16",
        "1aurent/vit_small_patch16_224.lunit_dino",
        _LUNIT,
        False,
        384,
        224,
        0.5,
        21.1,
    ),
    KnownEncoder("midnight", "Midnight", "kaiko-ai/midnight", "MIT", True, 3072, 224, 0.5, 1140),
    KnownEncoder("musk", "MUSK", "xiangjx/musk", _ND, True, 1024, 384, 0.5, 675.2, "musk"),
    KnownEncoder("phikon", "Phikon", "owkin/phikon", _OWKIN, False, 768, 224, 0.5, 85.8),
    KnownEncoder("phikonv2", "Phikon-v2", "owkin/phikon-v2", _OWKIN, False, 1024, 224, 0.5, 303.4),
    KnownEncoder("uni", "UNI", "MahmoodLab/UNI", _ND, True, 1024, 256, 0.5, 303.4),
    KnownEncoder("uni2", "UNI2-h", "MahmoodLab/UNI2-h", _ND, True, 1536, 256, 0.5, 681.4),
    KnownEncoder("virchow", "Virchow", "paige-ai/Virchow", "Apache 2.0", True, 2560, 224, 0.5, 631.2),
    KnownEncoder("virchow2", "Virchow2", "paige-ai/Virchow2", _ND, True, 2560, 224, 0.5, 631.2),
)


def known_encoder(name: str) -> KnownEncoder | None:
    """Return what is known of an encoder by its name, or None."""
    return next((known for known in (TRUNCATED_RESNET, *PATHOLOGY) if known.name == name), None)


def obstacle(known: KnownEncoder) -> str:
    """Say what stands between a known encoder and its use on this machine; nothing is loaded or fetched for it.

    Returns
    -------
    str
        A sentence with the remedy; empty where its weights lie here.
    """
    package = "timm" if known is TRUNCATED_RESNET else "lazyslide_models"
    if find_spec(package) is None:
        return f"{known.title} comes through the package {package.replace('_', '-')}, which is missing. {REMEDY}"
    if known.needs and find_spec(known.needs) is None:
        return f"{known.title} needs its authors' package {known.needs}, which is missing. See hf.co/{known.hub}"
    if weights_at_hand(known):
        return ""
    if known.gated:
        return (
            f"The weights of {known.title} are given out on request only. Ask for access at hf.co/{known.hub}, sign in "
            "with: hf auth login. They are then fetched at first use."
        )
    return (
        f"The weights of {known.title} are not on this machine. They are fetched from hf.co/{known.hub} at first use."
    )


_WEIGHTS = frozenset({".safetensors", ".bin", ".pt", ".pt2", ".pth", ".ckpt"})


def weights_at_hand(known: KnownEncoder) -> bool:
    """Whether the hub's cache on this machine holds an encoder's weights."""
    folder = hub_cache() / f"models--{known.hub.replace('/', '--')}" / "snapshots"
    return any(path.suffix in _WEIGHTS for path in folder.glob(f"*/{known.file}"))


def hub_cache() -> Path:
    """Return where the Hugging Face hub's files are kept, by its own rules, without loading its package."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()
