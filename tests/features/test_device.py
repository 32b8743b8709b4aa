"""Choosing a device, and saying why a GPU is off."""

from __future__ import annotations

import platform

import pytest
import torch

from napari_mil.errors import EncoderError
from napari_mil.features import _device, choose_device, device_options


def test_cpu_is_always_there() -> None:
    assert choose_device("cpu").device == "cpu"
    options = {name: (usable, reason) for name, usable, reason in device_options()}
    assert list(options) == ["auto", "cpu", "cuda", "mps"]
    assert options["auto"] == options["cpu"] == (True, "")
    for usable, reason in options.values():
        assert usable != bool(reason)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
@pytest.mark.parametrize(
    ("message", "note"),
    [
        ("Found no NVIDIA driver on your system.", "No NVIDIA driver was found."),
        ("The NVIDIA driver on your system is too old (found 1)", "The NVIDIA driver is too old for this PyTorch."),
        ("No CUDA GPUs are available", "No NVIDIA GPU was found."),
        ("something else\nat length", "CUDA did not start (something else)."),
    ],
)
def test_why_cuda_is_off(message: str, note: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError(message)

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "init", fail)
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    choice = choose_device("auto")
    assert choice.device == "cpu"
    assert note in choice.note
    with pytest.raises(EncoderError) as caught:
        choose_device("cuda")
    assert str(caught.value) == f"CUDA cannot be used: {note} Choose auto or cpu."


def test_pytorch_without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    assert {name: reason for name, _, reason in device_options()}["cuda"] == "This PyTorch was built without CUDA."


def test_gpu_in_use_or_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla K80")
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_90a", "compute_90"])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (3, 7))
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    assert choose_device("auto").note == "Computing on the CPU. The GPU (Tesla K80) is too old for this PyTorch."
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 6))
    assert choose_device("auto") == _device.DeviceChoice("cuda", "Computing on Tesla K80.")


def test_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.backends.mps, "is_built", lambda: False)
    assert "without MPS" in choose_device("auto").note
    monkeypatch.setattr(torch.backends.mps, "is_built", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto").device == "mps"


def test_unknown_name() -> None:
    with pytest.raises(ValueError, match="device must be one of"):
        choose_device("gpu")
