"""Keeping Triton, PyTorch's GPU compiler, out of a process that Mesa already draws in.

Triton carries an LLVM of its own. Where Mesa draws in software (no GPU driver, remote desktops) or on AMD cards, its
LLVM is in the process first, and loading Triton's beside it ends the process without a word (seen with Mesa's LLVM 15
and triton 3.9). Nothing here compiles models, so Triton is not missed.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def without_triton() -> Iterator[None]:
    """Import what would import Triton, without it, where Mesa's LLVM is loaded; elsewhere do nothing."""
    if "triton" in sys.modules or not mesa_llvm_is_loaded():
        yield
        return
    sys.modules["triton"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["triton"]


def prepare_optimizers() -> None:
    """Load, without Triton, the part of PyTorch that any optimizer loads at its first step."""
    if mesa_llvm_is_loaded():
        with without_triton():
            importlib.import_module("torch._dynamo")


def mesa_llvm_is_loaded() -> bool:
    """Tell whether this process has a shared LLVM mapped, as Mesa's drivers have; False where that cannot be seen."""
    try:
        return "libLLVM" in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
