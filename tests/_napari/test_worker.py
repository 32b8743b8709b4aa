"""A generator of Progress in a background thread: order, cancel, errors, and where it is closed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from napari_mil._napari.worker import Job
from napari_mil.progress import Progress, Steps


class Witness:
    """Remember what a job said, and in which thread its generator ended."""

    def __init__(self) -> None:
        self.said: list[tuple[str, object]] = []
        self.closed_in: threading.Thread | None = None

    def start(self, steps: Steps[object]) -> Job:
        return Job(
            steps,
            "Test",
            on_progress=lambda step: self.said.append(("progress", step.done)),
            on_done=lambda result: self.said.append(("done", result)),
            on_failed=lambda error: self.said.append(("failed", type(error))),
            on_cancelled=lambda: self.said.append(("cancelled", None)),
        )

    def count(self, to: int, pause: float = 0.0, fail: Exception | None = None) -> Steps[str]:
        try:
            for done in range(to):
                yield Progress("Counting", done, to)
                time.sleep(pause)
            if fail is not None:
                raise fail
            return "counted"
        finally:
            self.closed_in = threading.current_thread()


@pytest.fixture
def ended(qtbot) -> Callable[[Witness], None]:
    return lambda witness: qtbot.waitUntil(
        lambda: bool(witness.said) and witness.said[-1][0] != "progress", timeout=10_000
    )


def test_progress_then_result_in_order(qapp, ended) -> None:
    witness = Witness()
    witness.start(witness.count(3))
    ended(witness)
    assert witness.said == [("progress", 0), ("progress", 1), ("progress", 2), ("done", "counted")]
    assert witness.closed_in is not threading.main_thread()


def test_cancel_closes_the_generator_in_its_own_thread(qapp, qtbot, ended) -> None:
    witness = Witness()
    job = witness.start(witness.count(10_000, pause=0.01))
    qtbot.waitUntil(lambda: bool(witness.said), timeout=10_000)
    job.cancel()
    ended(witness)
    assert witness.said[-1] == ("cancelled", None)
    assert witness.closed_in not in (None, threading.main_thread())


@pytest.mark.parametrize("error", [ValueError("bad"), RuntimeError("out of memory")])
def test_every_error_arrives(qapp, ended, error: Exception) -> None:
    witness = Witness()
    witness.start(witness.count(1, fail=error))
    ended(witness)
    assert witness.said[-1] == ("failed", type(error))


def test_an_abandoned_job_says_nothing_more(qapp, qtbot) -> None:
    witness = Witness()
    job = witness.start(witness.count(10_000, pause=0.01))
    qtbot.waitUntil(lambda: bool(witness.said), timeout=10_000)
    job.abandon()
    qtbot.waitUntil(lambda: witness.closed_in is not None, timeout=10_000)
    qtbot.wait(50)
    assert not [kind for kind, _ in witness.said if kind != "progress"]


BESIDE_A_WINDOW = """
import napari, numpy as np, sys
viewer = napari.Viewer()
viewer.add_image(np.zeros((8, 8), np.float32))
viewer.screenshot(flash=False)
{work}
assert not ("libLLVM" in open("/proc/self/maps").read() and "triton" in sys.modules)
print("alive")
"""
TRAINING = """
import torch
from napari_mil.models import create_model
from napari_mil.training import Recipe, fit
bags = [np.full((3, 4), k, np.float32) for k in (0, 1, 0, 1)]
model = create_model("mean", in_features=4, seed=0)
list(fit(model, bags, np.array([0, 1, 0, 1]), np.array([0, 1]), np.array([2, 3]), Recipe(epochs=1)))
"""
TIMM = """
from napari_mil.errors import EncoderError
from napari_mil.features import load_encoder
try:
    load_encoder("timm:no-such-network")
except EncoderError as err:
    assert "timm knows no model" in str(err)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the clash is one of Linux drivers")
@pytest.mark.parametrize("work", [TRAINING, TIMM], ids=["training", "timm"])
def test_pytorch_works_beside_a_drawn_window(qapp, work: str) -> None:
    """Mesa's LLVM and Triton's in one process end it; neither optimizers nor timm may bring Triton in.

    In processes of their own, since PyTorch loads that part once only.
    """
    if work is TIMM and importlib.util.find_spec("timm") is None:
        pytest.skip("the extra 'encoders' is not installed")
    done = subprocess.run(
        [sys.executable, "-c", BESIDE_A_WINDOW.format(work=work)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.strip().endswith("alive"), f"status {done.returncode}: {done.stderr[-2000:]}"
