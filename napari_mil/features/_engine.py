"""The extraction engine: from tiles to features, resumable and cancellable at any time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import EncoderError, FeaturesError
from ..progress import Pacer, Progress, Steps, finish
from ..slides import Slide, SlideRef
from ..tiling import TileGrid
from ._blocks import iter_batches, plan_blocks
from ._device import choose_device
from ._encoder import Encoder
from ._features import EncoderInfo, Features
from ._partial import Partial, claim, partial_path
from ._store import describe, read_features, write_features

STAGE = "Reading and encoding patches"
_MPP_TOLERANCE = 0.02
_MAX_BATCH = 256


def extract(
    slide: Slide,
    grid: TileGrid,
    encoder: Encoder,
    *,
    device: str = "auto",
    out: str | Path | None = None,
    batch_size: int | None = None,
    threads: int | None = None,
    block_px: int = 1024,
) -> Features:
    """Extract the features of a slide; see `iter_extract`, which this runs to its end.

    Parameters
    ----------
    slide, grid, encoder, device, out, batch_size, threads, block_px
        As in `iter_extract`.

    Returns
    -------
    Features
        In the grid's order.
    """
    return finish(
        iter_extract(
            slide, grid, encoder, device=device, out=out, batch_size=batch_size, threads=threads, block_px=block_px
        )
    )


def iter_extract(
    slide: Slide,
    grid: TileGrid,
    encoder: Encoder,
    *,
    device: str = "auto",
    out: str | Path | None = None,
    batch_size: int | None = None,
    threads: int | None = None,
    block_px: int = 1024,
) -> Steps[Features]:
    """Extract the features of a slide, yielding Progress about ten times a second.

    Closing the generator stops the reading threads and leaves ``<out>.partial``, from which the next call goes on; so
    does a kill. The features do not depend on the number of threads nor on interruptions.

    Parameters
    ----------
    slide : Slide
        The slide.
    grid : TileGrid
        Its tiles.
    encoder : Encoder
        What turns patches into features; moved to the device.
    device : {"auto", "cpu", "cuda", "mps"}
        Where the encoder runs.
    out : str or Path, optional
        Feature file to write. One that already holds the features of this slide, grid and encoder is read back
        instead; any other there is replaced at the end.
    batch_size : int, optional
        Patches encoded at once; by default what suits the encoder's size. Halved where memory runs out.
    threads : int, optional
        Reading threads; by default one a core, at most 8.
    block_px : int
        Edge in pixels of the blocks that are read.

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
    EncoderError
        Where the grid's patches are not what the encoder takes, or memory does not suffice for a single one.
    FeaturesError
        Where ``out`` cannot be written or another process is writing it.
    SlideError
        Where the slide cannot be read; what was done before is kept in ``<out>.partial``.
    ValueError
        Where ``batch_size``, ``threads`` or ``block_px`` is not positive.
    """
    _check(grid, encoder, batch_size, threads, block_px)
    choice = choose_device(device)
    ref = slide.ref
    target = None if out is None else Path(out)
    kept = _already_there(target, grid, encoder.info, ref)
    if kept is not None:
        yield Progress(STAGE, len(grid), len(grid), message="These features were extracted before.")
        return kept
    with ExitStack() as stack:
        blocks = plan_blocks(slide, grid, block_px)
        order = np.concatenate([block.tiles for block in blocks]) if blocks else np.empty(0, np.int64)
        values = np.empty((len(grid), encoder.info.dim), np.float32)  # in reading order until the end
        partial, notice = None, choice.note
        if target is not None:
            stack.enter_context(claim(target))
            header = _header(grid, encoder.info, ref, order)
            partial = stack.enter_context(Partial(partial_path(target), header, encoder.info.dim))
            notice = _restore(partial, values) or notice
        done = partial.done if partial else 0
        pacer = Pacer(STAGE, len(grid), done=done)
        yield Progress(STAGE, done, len(grid), message=notice)
        stack.enter_context(_few_torch_threads())
        size = batch_size or _fitting_batch(encoder, choice.device)
        encode = _BatchEncoder(encoder.to(choice.device), size)
        batches = stack.enter_context(
            closing(
                iter_batches(
                    slide, grid, blocks, skip=done, batch_size=size, threads=threads or min(8, os.cpu_count() or 1)
                )
            )
        )
        for patches in batches:
            if patches is not None:
                rows = encode(patches)
                values[done : done + len(rows)] = rows
                done += len(rows)
                if partial:
                    partial.append(rows)
            step = pacer.step(done, notice)
            if step:
                yield step
        in_grid_order = np.empty_like(values)
        in_grid_order[order] = values
        features = Features(in_grid_order, grid, encoder.info, ref)
        if target is not None and partial is not None:
            write_features(target, features)
            partial.delete()
        return features


class _BatchEncoder:
    """Encode batches on the encoder's device, in ever smaller pieces where memory runs out."""

    def __init__(self, encoder: Encoder, size: int) -> None:
        self._encoder, self._size = encoder, size

    def __call__(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features (n, D) float32 of patches (n, T, T, 3) uint8."""
        while True:
            try:
                pieces = [self._encode(patches[i : i + self._size]) for i in range(0, len(patches), self._size)]
                return np.concatenate(pieces)
            except RuntimeError as err:
                if not _is_out_of_memory(err):
                    raise EncoderError(
                        f"The encoder {self._encoder.info.name} failed on a batch ({str(err).splitlines()[0]}). "
                        "Try the CPU, or export the encoder again."
                    ) from err
                if self._size == 1:
                    raise EncoderError(
                        f"There is not enough memory on {self._encoder.device.type} for a single patch. "
                        "Close other programs or choose the CPU."
                    ) from err
                self._size = (self._size + 1) // 2
                _release_memory(self._encoder.device)

    def _encode(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            batch = torch.from_numpy(patches).to(self._encoder.device).permute(0, 3, 1, 2).float().contiguous()
            features = self._encoder(batch.div_(255)).cpu()
        if tuple(features.shape) != (len(patches), self._encoder.info.dim):
            raise EncoderError(
                f"The encoder {self._encoder.info.name} returned {tuple(features.shape)} for {len(patches)} patches. "
                "Export it so that it returns one row of features a patch."
            )
        rows: NDArray[np.float32] = features.numpy()
        return rows


def _is_out_of_memory(err: RuntimeError) -> bool:
    return isinstance(err, torch.OutOfMemoryError) or any(
        words in str(err).lower() for words in ("out of memory", "can't allocate memory", "not enough memory")
    )


def _release_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def _fitting_batch(encoder: Encoder, device: str) -> int:
    """Return a power of two: large for small encoders, so small for large ones that a batch on the CPU takes under 1 s.

    A rule rather than a measurement, since the size of a batch can show in the last bit of a feature.
    """
    budget = 5e8 if device == "cpu" else 3e10  # parameters times patches
    fits = min(_MAX_BATCH, max(1.0, budget / max(1, encoder.parameter_count)))
    return 1 << (int(fits).bit_length() - 1)


@contextmanager
def _few_torch_threads() -> Iterator[None]:
    """Leave a core to the window, and give torch its threads back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(before, (os.cpu_count() or 1) - 1)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check(grid: TileGrid, encoder: Encoder, batch_size: int | None, threads: int | None, block_px: int) -> None:
    for name, value in (("batch_size", batch_size), ("threads", threads), ("block_px", block_px)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be positive, not {value}")
    info = encoder.info
    if grid.tile_px != info.tile_px or abs(grid.mpp / info.mpp - 1) > _MPP_TOLERANCE:
        raise EncoderError(
            f"The encoder {info.name} takes patches of {info.tile_px} px at {info.mpp:g} um/px, but the tiles are "
            f"{grid.tile_px} px at {grid.mpp:g} um/px. Tile the slide to suit the encoder."
        )


def _already_there(path: Path | None, grid: TileGrid, encoder: EncoderInfo, ref: SlideRef) -> Features | None:
    """Return the features in a file if they are those of this slide, grid and encoder."""
    if path is None or not path.is_file():
        return None
    try:
        found = read_features(path)
    except FeaturesError:
        return None  # what cannot be read is made anew
    same = (
        found.encoder == encoder
        and (found.slide.quickhash, found.slide.mpp, found.slide.shape) == (ref.quickhash, ref.mpp, ref.shape)
        and _grid_hash(found.grid) == _grid_hash(grid)
    )
    return found if same else None


def _grid_hash(grid: TileGrid) -> str:
    numbers = np.array([grid.tile_l0, grid.stride_l0, grid.tile_px, grid.mpp], np.float64)
    parts = numbers.tobytes() + np.ascontiguousarray(grid.l0_rc).tobytes() + grid.tissue_fraction.tobytes()
    return hashlib.sha256(parts).hexdigest()


def _header(grid: TileGrid, encoder: EncoderInfo, ref: SlideRef, order: NDArray[np.int64]) -> dict[str, object]:
    """Return what unfinished rows must agree in to be continued; the slide may have been moved meanwhile."""
    record = describe(grid, encoder, ref)
    record["slide"].pop("path")
    record["tiles_sha256"] = _grid_hash(grid)
    record["order_sha256"] = hashlib.sha256(order.tobytes()).hexdigest()
    return record


def _restore(partial: Partial, values: NDArray[np.float32]) -> str:
    done = partial.restore(values)
    if done:
        return f"Going on after {done:,} patches done before."
    return "The unfinished file belonged to other settings; starting anew." if partial.replaced else ""
