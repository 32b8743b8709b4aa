"""What a training run keeps on the disk so that it can go on after a kill."""

from __future__ import annotations

import hashlib
import json
import pickle
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import ExportError, ModelError
from ..files import cannot_write, replacing
from ._folder import RESUME_FILE

_SHARE = 0.05  # of the time, at most, that goes into keeping states


class Resume:
    """Keeps finished folds and the state of the fit that is under way, in one file that is always whole.

    It is a `Keeper`: after each epoch the state is written to a temporary name and renamed, unless that would take
    more than a twentieth of the time; then the last one stays, from which the same epochs are computed again.

    Parameters
    ----------
    out : Path
        Folder of the run.
    key : mapping of str to JSON-able
        What the run depends on, by what to call it.
    go_on : bool
        Go on from what is there; else begin anew and replace it.

    Raises
    ------
    ModelError
        If what is there cannot be read, or belongs to a run with another key.
    """

    def __init__(self, out: Path, key: Mapping[str, Any], *, go_on: bool) -> None:
        self._path = out / RESUME_FILE
        self._key = {name: _digest(value) for name, value in key.items()}
        self._folds: list[dict[str, Any]] = []
        self._state: Mapping[str, Any] | None = None
        self._not_before = -float("inf")
        if go_on and self._path.exists():
            self._read()

    @property
    def folds(self) -> list[dict[str, Any]]:
        """Records of the finished folds, in order."""
        return self._folds

    def load(self) -> Mapping[str, Any] | None:
        """Return the state of the fit that was under way; see `Keeper`."""
        return self._state

    def save(self, make: Callable[[], dict[str, Any]]) -> None:
        """Keep the state of the fit that is under way; see `Keeper`."""
        began = time.monotonic()
        if began < self._not_before:
            return
        self._write(make())
        now = time.monotonic()
        self._not_before = now + (now - began) / _SHARE

    def add(self, fold: dict[str, Any]) -> None:
        """Keep the record of a finished fold: dicts, lists, numbers and text."""
        self._folds.append(fold)
        self._state, self._not_before = None, -float("inf")
        self._write(None)

    def remove(self) -> None:
        """Forget all, at the end of the run."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise ExportError(cannot_write(self._path, error)) from error

    def _write(self, state: dict[str, Any] | None) -> None:
        with replacing(self._path, ExportError) as path, path.open("wb") as file:
            torch.save({"key": self._key, "folds": self._folds, "state": state}, file)

    def _read(self) -> None:
        try:
            kept = torch.load(self._path, map_location="cpu", weights_only=True)
            other = [name for name, digest in self._key.items() if kept["key"].get(name) != digest]
            self._folds, self._state = kept["folds"], kept["state"]
        except (OSError, RuntimeError, LookupError, TypeError, EOFError, pickle.UnpicklingError) as error:
            raise ModelError(
                f"{self._path} cannot be read, so the training cannot go on. Begin anew, without resuming."
            ) from error
        if other:
            raise ModelError(
                f"The training kept in {self._path} was begun with another {' and '.join(other)}. "
                "Give what it was begun with, or begin anew, without resuming."
            )


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
