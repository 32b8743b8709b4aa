"""The extraction engine: from tiles to features, resumable and cancellable at any time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..counting import agreed, counted
from ..errors import EncoderError, FeaturesError
from ..progress import Pacer, Progress, Steps, finish
from ..slides import Slide, SlideRef
from ..tiling import TileGrid
from ._ahead import usable_cores
from ._device import choose_device
from ._encoder import Encoder
from ._encoding import fitting_batch, iter_encoded, precision
from ._features import EncoderInfo, Features
from ._order import Order, ordered, wanted_first
from ._partial import Partial, claim, partial_path, sweep
from ._patches import iter_batches, plan_batches
from ._store import asked_hash, describe, grid_hash, read_features, write_features

if TYPE_CHECKING:
    from ._order import Priority

STAGE = "Reading and encoding patches"
_MPP_TOLERANCE = 0.02


def extract(
    slide: Slide,
    grid: TileGrid,
    encoder: Encoder,
    *,
    device: str = "auto",
    out: str | Path | None = None,
    batch_size: int | None = None,
    threads: int | None = None,
    block_px: int = 512,
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
    block_px: int = 512,
    order: Order = "raster",
    priority: Priority | None = None,
    arrived: Callable[[NDArray[np.int64], NDArray[np.float32]], None] | None = None,
) -> Steps[Features]:
    """Extract the features of a slide, yielding Progress about ten times a second.

    Closing the generator stops the reading threads and leaves ``<out>.partial``, from which the next call goes on; so
    does a kill. The features do not depend on the number of threads, on interruptions, nor on the order of reading:
    which tiles make a batch follows from the grid alone, and each row lies at its tile's place.

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
        Reading threads; by default one a core, at most 8, and half as many where the encoder needs the cores.
    block_px : int
        Edge in pixels of the squares of the slide one of which is done with before the next.
    order : {"raster", "spread"}
        Row by row, or a few batches from all over the slide first and then those between them.
    priority : callable, optional
        Asked before each batch, in the thread that runs this: how much each tile is wanted, (N,), or None. Batches
        with tiles that are wanted more are read first. It must answer at once.
    arrived : callable, optional
        Told the places (n,) and features (n, D) of patches as they are done, in the thread that runs this; also of
        those that were done before. It must answer at once and must not change them.

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
    if kept is not None and not kept.unreadable_tiles:
        yield Progress(STAGE, len(grid), len(grid), message="These features were extracted before.")
        return kept
    with ExitStack() as stack:
        values, read = _begun(grid, encoder.info.dim, kept)
        partial, notice = None, choice.note
        if target is not None:
            stack.enter_context(claim(target))
            header = _header(grid, encoder.info, ref) | {"precision": str(precision(encoder, choice.device))}
            partial = stack.enter_context(Partial(partial_path(target), header, encoder.info.dim))
            notice = _restore(partial, values, read) or notice
        done = int(read.sum())
        takers = [take for take in (partial.append if partial else None, arrived) if take is not None]
        if arrived is not None and done:
            arrived(np.flatnonzero(read), values[read])
        pacer = Pacer(STAGE, len(grid), done=done)
        yield Progress(STAGE, done, len(grid), message=notice)
        size = batch_size or fitting_batch(encoder, choice.device)
        threads = threads or _reading_threads(choice.device)
        plan = ordered(plan_batches(slide, grid, batch_size=size, block_px=block_px), grid, order)
        left = [tiles[~read[tiles]] for tiles in plan if not read[tiles].all()]
        queue = wanted_first(left, len(grid), priority)
        patches = stack.enter_context(closing(iter_batches(slide, grid, queue, threads=threads)))
        encoded = stack.enter_context(closing(iter_encoded(patches, encoder.to(choice.device), batch_size=size)))
        for rows in encoded:
            if rows is not None:
                values[rows.tiles], read[rows.tiles] = rows.values, True
                done += len(rows.tiles)
                for take in takers:  # onto the disk before anybody is told
                    take(rows.tiles, rows.values)
            step = pacer.step(done, notice)
            if step:
                yield step
        features = _of_readable(values, grid, read, encoder.info, ref)
        if target is not None and partial is not None:
            write_features(target, features, asked=grid)
            partial.delete()
        if features.unreadable_tiles:
            lost = features.unreadable_tiles
            message = (
                f"{lost:,} of {counted(len(grid), 'patch')} could not be read and {agreed(lost, 'was', 'were')} left "
                "out: the slide's file is damaged there."
            )
            yield Progress(STAGE, done, len(grid), message=message)
        return features


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
        # tiles that could not be read are asked for again, and are not in the file's own grid
        and grid_hash(grid) in (asked_hash(path), grid_hash(found.grid))
    )
    if same and not found.unreadable_tiles:
        sweep(path, _header(grid, encoder, ref))
    return found if same else None


def _reading_threads(device: str) -> int:
    # beside an encoder on the same cores, more readers than half of them only get into its way: 3800 patches/s with
    # two, 3000 with four on four cores (benchmarks/extract.py)
    return min(8, max(1, usable_cores() // 2 if device == "cpu" else usable_cores()))


def _begun(grid: TileGrid, dim: int, kept: Features | None) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return room for the features and which of them are there: those kept of a file that lacks some."""
    values, read = np.empty((len(grid), dim), np.float32), np.zeros(len(grid), bool)
    if kept is not None:  # what could not be read then may be sound now
        read = _places(grid, kept.grid)
        values[read] = kept.values
    return values, read


def _places(grid: TileGrid, part: TileGrid) -> NDArray[np.bool_]:
    """Mark the tiles of a grid that are in a part of it, which keeps their order."""
    one, other = ((rc[:, 0] << 32) + rc[:, 1] for rc in (grid.l0_rc, part.l0_rc))
    return np.isin(one, other)


def _of_readable(
    values: NDArray[np.float32], grid: TileGrid, read: NDArray[np.bool_], encoder: EncoderInfo, ref: SlideRef
) -> Features:
    """Return the features of the tiles that were read, and how many were not."""
    if not read.all():
        grid, values = replace(grid, l0_rc=grid.l0_rc[read], tissue_fraction=grid.tissue_fraction[read]), values[read]
    return Features(values, grid, encoder, ref, int((~read).sum()))


def _header(grid: TileGrid, encoder: EncoderInfo, ref: SlideRef) -> dict[str, object]:
    """Return what unfinished rows must agree in to be continued; the slide may have been moved meanwhile."""
    record = describe(grid, encoder, ref)
    record["slide"].pop("path")
    record["tiles_sha256"] = grid_hash(grid)
    record["frames"] = "placed"  # each with its tiles' places in the grid
    return record


def _restore(partial: Partial, values: NDArray[np.float32], read: NDArray[np.bool_]) -> str:
    partial.restore(values, read)
    if partial.done:
        return f"Going on after {counted(partial.done, 'patch')} done before."
    return "The unfinished file belonged to other settings; starting anew." if partial.replaced else ""
