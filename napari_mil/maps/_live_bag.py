"""The bag of a run that is still going, and the map of what is in it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
import torch

from ..features import Features
from ._infer import as_map_score, attention_map, ensemble_map, made_map, numbers
from ._map import Prediction

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ..features import EncoderInfo
    from ..models import MILModel
    from ..slides import SlideRef
    from ..tiling import TileGrid
    from ._map import AttentionMap

    Parts: TypeAlias = Sequence[tuple[NDArray[np.int64], NDArray[np.float32]]]
    Found: TypeAlias = tuple[AttentionMap, NDArray[np.int64]]

_EVERY_S = 2.0
_LONG_S = 1.0
"""Longer than this nobody is to wait for a run to end or to be cancelled."""
_TRIAL = 512
_MOST_BYTES = 2**28


class LiveBag(Protocol):
    """A bag that grows; ``settled`` once no more maps come of it."""

    settled: bool

    def add(self, parts: Parts) -> Found | None:
        """Add patches, and return the map of all with their places (n,), ascending; None while there is none."""


def live_bag(models: Sequence[MILModel], grid: TileGrid, slide: SlideRef, encoder: EncoderInfo) -> LiveBag:
    """Return a bag that is empty: of a model that reads each patch alone one that is read as it comes.

    Parameters
    ----------
    models, grid, slide, encoder
        As in `LiveMap.following`.

    Returns
    -------
    LiveBag
        Its maps are those that `attention_map` or `ensemble_map` make of the same patches.
    """
    for model in models:
        model.eval()
    run = _Run(grid, slide, encoder)
    return ReadOnce(models[0], run) if len(models) == 1 and models[0].reads_each_alone else ReadAnew(models, run)


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """Of which tiles, slide and encoder a bag is."""

    grid: TileGrid
    slide: SlideRef
    encoder: EncoderInfo

    def part(self, tiles: NDArray[np.int64]) -> TileGrid:
        grid = self.grid
        return replace(grid, l0_rc=grid.l0_rc[tiles], tissue_fraction=grid.tissue_fraction[tiles])


class ReadOnce:
    """Keeps what the model takes from each patch, a few numbers, and pools them at every map: exact at once."""

    def __init__(self, model: MILModel, run: _Run) -> None:
        self._model, self._run = model, run
        self._tiles = np.empty(0, np.int64)
        self._read: tuple[Tensor, ...] = ()
        self.settled = False

    def add(self, parts: Parts) -> Found | None:
        """Read new patches and pool all; see `LiveBag.add`."""
        model, run = self._model, self._run
        for tiles, values in parts:
            self._tiles = np.concatenate([self._tiles, tiles])
            read = model.read_patches(torch.from_numpy(values))
            self._read = tuple(map(torch.cat, zip(self._read, read, strict=True))) if self._read else read
        order = np.argsort(self._tiles)
        output = model.pool_patches(*(part[torch.from_numpy(order)] for part in self._read))
        scores = {name: as_map_score(score) for name, score in output.scores.items()}
        prediction = Prediction(model.card.class_names, *numbers(model, output))
        tiles = self._tiles[order]
        # the features themselves are not kept
        bag = Features(np.empty((len(tiles), 0), np.float32), run.part(tiles), run.encoder, run.slide)
        return made_map(bag, scores, prediction, model.card, model.default_score, str(output.logits.device)), tiles


class ReadAnew:
    """Runs models over all patches so far every few seconds, at first more often, as long as that is soon done."""

    def __init__(self, models: Sequence[MILModel], run: _Run) -> None:
        self._models, self._run = models, run
        self._tiles = np.empty(0, np.int64)
        self._values: list[NDArray[np.float32]] = []
        self._bytes = 0
        self._ran, self._count = -np.inf, 0
        self._s_per_patch = np.nan
        self.settled = False

    def add(self, parts: Parts) -> Found | None:
        """Keep new patches, and run over all every few seconds, or once they are twice as many; see `LiveBag.add`."""
        self._tiles = np.concatenate([self._tiles, *(tiles for tiles, _ in parts)])
        self._values += [values for _, values in parts]
        self._bytes += sum(values.nbytes for _, values in parts)
        known = self._s_per_patch == self._s_per_patch
        if self._bytes > _MOST_BYTES or (known and len(self._tiles) * self._s_per_patch > _LONG_S):
            self.settled, self._values = True, []
            return None
        if len(self._tiles) < 2 * self._count and time.monotonic() - self._ran < _EVERY_S:
            return None
        # of many patches that were read before, a few first: nobody knows yet how long all will take
        count = len(self._tiles) if known else min(len(self._tiles), _TRIAL)
        order = np.argsort(self._tiles[:count])
        values, run = np.concatenate(self._values)[:count][order], self._run
        tiles = self._tiles[:count][order]
        began = time.perf_counter()
        amap = self._mapped(Features(values, run.part(tiles), run.encoder, run.slide))
        if count >= _TRIAL and self._count:  # the first run of all loads and sets up what later ones find ready
            self._s_per_patch = (time.perf_counter() - began) / count
        self._ran, self._count = time.monotonic(), count
        return amap, tiles

    def _mapped(self, bag: Features) -> AttentionMap:
        device = str(next(self._models[0].parameters()).device)
        if len(self._models) == 1:
            return attention_map(self._models[0], bag, device=device)
        return ensemble_map(self._models, bag, device=device)
