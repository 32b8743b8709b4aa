"""Extraction in a process of its own: whatever happens to it, the window lives on, and ending it frees the GPU wholly.

The child is started afresh (never forked: PyTorch and Qt do not survive that), told what to do in one line of JSON, and
tells its progress line by line. All that it makes lies in the feature file, which survives its death at any moment.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import errors
from ..errors import EncoderError, NapariMilError
from ..progress import Progress, Steps
from ..tiling import TileGrid
from ._store import read_features

if TYPE_CHECKING:
    from ..slides import Slide
    from ._encoder import Encoder
    from ._features import Features

_HEARTBEAT_S = 0.1
_GRACE_S = 2.0
_GRID_ARRAYS = ("l0_rc", "tissue_fraction")


def iter_extract_isolated(
    slide: Slide, grid: TileGrid, encoder: Encoder, *, device: str = "auto", out: str | Path
) -> Steps[Features]:
    """Extract the features of a slide in another process; otherwise as `iter_extract`.

    Closing the generator ends that process at once; the next call goes on from the features that it had made.

    Parameters
    ----------
    slide : Slide
        The slide; the other process opens it again.
    grid : TileGrid
        Its tiles.
    encoder : Encoder
        One that `load_encoder` made: the other process loads it again, by ``encoder.origin``.
    device : {"auto", "cpu", "cuda", "mps"}
        Where the encoder runs.
    out : str or Path
        Feature file to write.

    Yields
    ------
    Progress
        Patches done.

    Returns
    -------
    Features
        In the grid's order.

    Raises
    ------
    NapariMilError
        As `iter_extract`; an EncoderError where the other process ended without a word.
    ValueError
        Where the encoder was not made by `load_encoder`.
    """
    if not encoder.origin:
        raise ValueError("only encoders that load_encoder made can be loaded again by another process")
    with tempfile.TemporaryDirectory() as folder:
        arrays = Path(folder) / "grid.npz"
        np.savez(arrays, **{name: getattr(grid, name) for name in _GRID_ARRAYS})
        numbers = {name: value for name, value in asdict(grid).items() if name not in _GRID_ARRAYS}
        task = {
            "slide": str(slide.path),
            "slide_mpp": slide.mpp,
            "grid": numbers,
            "arrays": str(arrays),
            "encoder": encoder.origin,
            "info": asdict(encoder.info),
            "device": device,
            "out": str(out),
        }
        with _child(task) as child:
            yield from _follow(child)
    return read_features(out)


@contextmanager
def _child(task: dict[str, Any]) -> Generator[subprocess.Popen[str], None, None]:
    """Start the other process; however this ends, it has ended then."""
    command = [sys.executable, "-m", __name__]
    pipe = subprocess.PIPE
    child = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, encoding="utf-8", env=_environment())
    try:
        assert child.stdin is not None
        with suppress(OSError):  # one that has ended already is told of by how it ended
            child.stdin.write(json.dumps(task))
            child.stdin.close()
        yield child
    finally:
        if child.poll() is None:
            child.terminate()
        try:
            child.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdout is not None:
            child.stdout.close()


def _follow(child: subprocess.Popen[str]) -> Generator[Progress, None, None]:
    """Yield the progress that a child tells, until it is done."""
    told: queue.Queue[str | None] = queue.Queue()

    def listen() -> None:
        assert child.stdout is not None
        for line in child.stdout:
            told.put(line)
        told.put(None)

    threading.Thread(target=listen, name="napari-mil-listen", daemon=True).start()
    last = Progress("Reading and encoding patches", message="Starting a process of its own")
    while True:
        try:
            line = told.get(timeout=_HEARTBEAT_S)
        except queue.Empty:
            yield last  # so that the caller can cancel
            continue
        if line is None:
            raise EncoderError(_ended(child.wait()))
        message = json.loads(line)
        if "error" in message:
            raise getattr(errors, message["kind"], NapariMilError)(message["error"])
        if "finished" in message:
            return
        last = Progress(**message)
        yield last


def _ended(status: int) -> str:
    how = f"signal {-status}" if status < 0 else f"status {status}"
    return (
        f"The process that computed ended without a word ({how}): a driver may have failed, or memory ran out. "
        "What it had done is kept; run again, or choose the CPU."
    )


def _environment() -> dict[str, str]:
    """Return this process's environment, with the places from which it imports."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry), "PYTHONUTF8": "1"}


def _run() -> None:
    """Be the other process."""
    # whatever libraries print must not come between the lines
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=out, flush=True)

    from ..slides import open_slide
    from ._catalogue import load_encoder
    from ._engine import iter_extract
    from ._features import EncoderInfo

    task = json.loads(sys.stdin.read())
    try:
        with np.load(task["arrays"]) as arrays:
            grid = TileGrid(**task["grid"], **{name: arrays[name] for name in _GRID_ARRAYS})
        info = EncoderInfo(**task["info"])
        encoder = load_encoder(task["encoder"], tile_px=info.tile_px, mpp=info.mpp)
        if encoder.info != info:
            raise EncoderError(f"The encoder {info.name} has changed since it was loaded. Choose it again, then run.")
        with open_slide(task["slide"], mpp=task["slide_mpp"] and tuple(task["slide_mpp"])) as slide:
            for step in iter_extract(slide, grid, encoder, device=task["device"], out=task["out"]):
                tell(asdict(step))
    except NapariMilError as err:
        tell({"error": str(err), "kind": type(err).__name__})
        return
    tell({"finished": True})


if __name__ == "__main__":
    _run()
