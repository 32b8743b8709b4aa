"""Run an encoder over batches of patches, on whatever device, in whatever memory."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from ..counting import counted
from ..errors import EncoderError, SlideError
from ._ahead import map_ahead, usable_cores
from ._encoder import FAILURES, Encoder
from ._patches import Patches

_MAX_BATCH = {"cpu": 128, "cuda": 256, "mps": 128}
_MAX_BATCH_PX = {"cpu": 2**19, "cuda": 2**24, "mps": 2**22}
_MAX_BATCH_WORK = {"cpu": 1e8, "cuda": 3e10, "mps": 3e9}  # parameters times patches
_LARGE = 1.5e8  # parameters from which one patch keeps all cores busy
_AUTOCAST = 1e7  # parameters from which half precision gains on a GPU; smaller encoders keep every digit
_ON_GPU = 2  # batches under way on a GPU: one is computed while the other comes and goes


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Features of some tiles.

    Parameters
    ----------
    tiles : (n,) int64
        Their places in the grid.
    values : (n, D) float32
        Their features.
    """

    tiles: NDArray[np.int64]
    values: NDArray[np.float32]


def fitting_batch(encoder: Encoder, device: str) -> int:
    """Return a batch size for an encoder, a power of two: on a CPU one that takes well under a second.

    A rule rather than a measurement, since the size of a batch can show in the last bit of a feature.
    """
    fits = min(
        _MAX_BATCH[device],
        _MAX_BATCH_PX[device] // encoder.info.tile_px**2,
        int(_MAX_BATCH_WORK[device] / max(1, encoder.parameter_count)),
    )
    return 1 << (max(1, fits).bit_length() - 1)


def iter_encoded(
    batches: Iterable[Patches | None], encoder: Encoder, *, batch_size: int
) -> Generator[Rows | None, None, None]:
    """Encode batches in order on the encoder's device.

    On the CPU several batches run side by side, each on one core: splitting every small operation of a small encoder
    over all cores costs more in waiting than it gains, the more so on a busy computer. One core is left to the window.
    On an NVIDIA GPU large encoders compute in bfloat16 (float16 where the GPU lacks it), and patches come through
    pinned memory as bytes. Features of the CPU and of a GPU agree to 1e-4 of their spread in float32, to 2e-2 in half
    precision.

    Parameters
    ----------
    batches : iterable of Patches or None
        At least one patch each; None while their source is waiting.
    encoder : Encoder
        On its device.
    batch_size : int
        Most patches encoded at once; halved whenever memory runs out.

    Yields
    ------
    Rows or None
        Features of a batch; None while waiting.

    Raises
    ------
    EncoderError
        Where the encoder fails, or memory does not suffice for a single patch.
    SlideError
        Where the source of the batches cannot be read; all batches before have been yielded.
    """
    spare = max(1, usable_cores() - 1)
    side_by_side = encoder.device.type == "cpu" and encoder.parameter_count < _LARGE
    cuda = encoder.device.type == "cuda"
    workers, cores = (spare, 1) if side_by_side else (_ON_GPU if cuda else 1, spare)
    begin = partial(torch.set_num_threads, cores)
    encode = _BatchEncoder(encoder, batch_size)
    failures: list[SlideError] = []
    source = _until_failure(batches, failures)
    with (
        _torch_threads_restored(),
        closing(map_ahead(encode, source, threads=workers, name="napari-mil-encode", begin=begin)) as rows,
    ):
        yield from rows
    if failures:  # only now, so that what was read before is encoded and kept
        raise failures[0]


def _until_failure(
    batches: Iterable[Patches | None], failures: list[SlideError]
) -> Generator[Patches | None, None, None]:
    """Yield batches up to the place that cannot be read, and remember why it could not."""
    try:
        yield from batches
    except SlideError as err:
        failures.append(err)


class _BatchEncoder:
    """Encode a batch on the encoder's device, in ever smaller pieces where memory runs out."""

    def __init__(self, encoder: Encoder, size: int) -> None:
        self._encoder, self._size = encoder, size
        self._cuda = encoder.device.type == "cuda"
        self._precision = precision(encoder, encoder.device.type)

    def __call__(self, patches: Patches) -> Rows:
        pixels = patches.pixels
        while True:
            size = self._size
            try:
                values = [self._encode(pixels[i : i + size]) for i in range(0, len(pixels), size)]
                return Rows(patches.tiles, np.concatenate(values))
            except FAILURES as err:
                if not _is_out_of_memory(err):
                    said = str(err).strip().splitlines() or [type(err).__name__]
                    raise EncoderError(
                        f"The encoder {self._encoder.info.name} failed on a batch ({said[0]}). "
                        "Try the CPU, or export the encoder again."
                    ) from err
                if size == 1:
                    raise EncoderError(
                        f"There is not enough memory on {self._encoder.device.type} for a single patch. "
                        "Close other programs or choose the CPU."
                    ) from err
            self._size = (size + 1) // 2
            _release_memory(self._encoder.device)

    def _encode(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = torch.from_numpy(patches)
        if self._cuda:
            pixels = pixels.pin_memory()
        pixels = pixels.to(self._encoder.device, non_blocking=self._cuda)
        features = self._at(self._precision, pixels)
        if self._precision != torch.float32 and not torch.isfinite(features).all():
            features = self._at(torch.float32, pixels)  # half precision holds smaller numbers only
        if tuple(features.shape) != (len(patches), self._encoder.info.dim):
            raise EncoderError(
                f"The encoder {self._encoder.info.name} returned {tuple(features.shape)} for "
                f"{counted(len(patches), 'patch')}. "
                "Export it so that it returns one row of features a patch."
            )
        if not torch.isfinite(features).all():
            raise EncoderError(
                f"The encoder {self._encoder.info.name} returned numbers that are not finite for some patches. "
                "Export it again, or choose another."
            )
        rows: NDArray[np.float32] = features.numpy()
        return rows

    def _at(self, precision: torch.dtype, pixels: torch.Tensor) -> torch.Tensor:
        half = precision != torch.float32
        with torch.inference_mode(), torch.autocast("cuda", precision if half else None, enabled=half):
            return self._encoder.encode_bytes(pixels).cpu()


def precision(encoder: Encoder, device: str) -> torch.dtype:
    """Return the precision in which an encoder computes on a device: half for large ones on an NVIDIA GPU."""
    if device != "cuda" or encoder.parameter_count < _AUTOCAST:
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def _is_out_of_memory(err: Exception) -> bool:
    return isinstance(err, torch.OutOfMemoryError) or any(
        words in str(err).lower() for words in ("out of memory", "can't allocate memory", "not enough memory")
    )


def _release_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


_threads_lock = threading.Lock()
_threads_users: list[int] = []


@contextmanager
def _torch_threads_restored() -> Iterator[None]:
    """Give PyTorch back its threads when an extraction has ended; the first of several side by side says how many.

    Each thread has a number of its own, which it takes from the process's when it first computes.
    """
    with _threads_lock:
        _threads_users.append(_threads_users[0] if _threads_users else torch.get_num_threads())
    try:
        yield
    finally:
        with _threads_lock:
            torch.set_num_threads(_threads_users.pop())
