"""Where encoders and models run, and in plain words why a GPU cannot be used."""

from __future__ import annotations

import platform
from dataclasses import dataclass

import torch

from ..errors import EncoderError

DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True, slots=True)
class DeviceChoice:
    """The device chosen.

    Parameters
    ----------
    device : str
        "cpu", "cuda" or "mps".
    note : str
        One plain sentence for a person: which device, and where it is the CPU, why no GPU.
    """

    device: str
    note: str


def choose_device(device: str = "auto") -> DeviceChoice:
    """Choose where to compute.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda", "mps"}
        ``"auto"`` takes an NVIDIA (or ROCm) GPU before an Apple one before the CPU.

    Returns
    -------
    DeviceChoice

    Raises
    ------
    EncoderError
        Where a GPU is asked for that cannot be used; says why.
    ValueError
        For any other name.
    """
    if device not in DEVICES:
        raise ValueError(f"device must be one of {', '.join(DEVICES)}, not {device!r}")
    if device == "cpu":
        return DeviceChoice("cpu", "Computing on the CPU.")
    reasons = {"cuda": _why_no_cuda, "mps": _why_no_mps}
    if device != "auto":
        reason = reasons[device]()
        if reason:
            raise EncoderError(f"{device.upper()} cannot be used: {reason} Choose auto or cpu.")
        return DeviceChoice(device, _gpu_note(device))
    found = [(name, why()) for name, why in reasons.items()]
    for name, reason in found:
        if not reason:
            return DeviceChoice(name, _gpu_note(name))
    local = "mps" if platform.system() == "Darwin" else "cuda"
    return DeviceChoice("cpu", f"Computing on the CPU. {dict(found)[local]}")


def device_options() -> list[tuple[str, bool, str]]:
    """Return (name, usable, reason) of every device; the reason is empty where it is usable."""
    cuda, mps = _why_no_cuda(), _why_no_mps()
    return [("auto", True, ""), ("cpu", True, ""), ("cuda", not cuda, cuda), ("mps", not mps, mps)]


def _gpu_note(device: str) -> str:
    name = torch.cuda.get_device_name() if device == "cuda" else "the Apple GPU"
    return f"Computing on {name}."


def _why_no_cuda() -> str:
    """Return why CUDA cannot be used, one sentence, or an empty string."""
    if torch.version.cuda is None and torch.version.hip is None:
        return "This PyTorch was built without CUDA."
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as err:
        return _explain_cuda(str(err))
    if torch.version.hip is None:
        major, minor = torch.cuda.get_device_capability()
        built = [int(arch.removeprefix("sm_").rstrip("af")) for arch in torch.cuda.get_arch_list() if arch[:3] == "sm_"]
        if built and major * 10 + minor < min(built):
            return f"The GPU ({torch.cuda.get_device_name()}) is too old for this PyTorch."
    return ""


def _explain_cuda(message: str) -> str:
    if "no NVIDIA driver" in message:
        return "No NVIDIA driver was found."
    if "too old" in message:
        return "The NVIDIA driver is too old for this PyTorch."
    if "No CUDA GPUs" in message or "no CUDA-capable device" in message:
        return "No NVIDIA GPU was found."
    return f"CUDA did not start ({message.strip().splitlines()[0]})." if message.strip() else "CUDA did not start."


def _why_no_mps() -> str:
    """Return why Apple's GPU cannot be used, one sentence, or an empty string."""
    if platform.system() != "Darwin":
        return "MPS is for Macs only."
    if not torch.backends.mps.is_built():
        return "This PyTorch was built without MPS."
    if not torch.backends.mps.is_available():
        return "MPS needs macOS 14 or later and an Apple GPU."
    return ""
