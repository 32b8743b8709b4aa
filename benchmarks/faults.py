"""Opening and reading damaged slides: mutations of every small slide, and made-up bombs, each in a guarded process.

A slide survives when it is read, wholly or in part, or refused in one sentence; it does not when the process crashes,
hangs, takes more than its share of memory, or ends in any other error. Every mutation follows from its seed, so that
each can be had again: ``python -m benchmarks.faults [--mutations 200] [--keep FOLDER] [SLIDE ...]``.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import resource
import shutil
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._made import bombs, made_slides
from benchmarks._window import SHARED

SMALL_BYTES = 12 * 2**20
REAL = ("cmu-1-small-region.svs", "tcga-jp2k-no-mpp.svs", "cmu-1-dicom", "edge/broken.svs")
PATIENCE_S = 30.0
MEMORY_BYTES = 2 * 2**30
"""Address space beside what the libraries take: ten times what a sound slide of these needs."""

WINDOW_PX = 300
SURVIVED = ("read", "damaged", "refused")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file.

    Parameters
    ----------
    kind : str
        One of `SURVIVED`, else "crash", "hang", "memory" or "error".
    says : str
        What was said.
    seconds : float
        How long it took.
    """

    kind: str
    says: str
    seconds: float


def mutate(data: bytearray, rng: np.random.Generator) -> str:
    """Damage a file's bytes in place in one of the ways in which files are; return which."""
    size = len(data)
    kind = str(rng.choice(["bits", "header", "number", "stretch", "cut", "shift"]))
    if kind == "bits":
        for at in rng.integers(0, size, rng.integers(1, 65)):
            data[at] ^= 1 << int(rng.integers(8))
    elif kind == "header":
        for at in rng.integers(0, min(size, 4096), rng.integers(1, 9)):
            data[at] = int(rng.integers(256))
    elif kind == "number":
        # directories lie at either end of the file: numbers there are sizes, counts and offsets
        near = rng.integers(0, min(size - 4, 8192), 4)
        for at in np.where(rng.random(4) < 0.5, near, size - 4 - near):
            data[at : at + 4] = struct.pack("<I", int(rng.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, size, 65536])))
    elif kind == "stretch":
        at, length = int(rng.integers(size)), int(rng.integers(1, max(2, size // 4)))
        length = min(length, size - at)
        data[at : at + length] = rng.bytes(length) if rng.random() < 0.5 else bytes(length)
    elif kind == "cut":
        del data[int(rng.integers(size)) :]
    else:
        at = int(rng.integers(size))
        data[at:at] = rng.bytes(int(rng.integers(1, 1000)))
    return kind


def mutations(slide: Path, count: int, folder: Path) -> Iterator[tuple[str, Path]]:
    """Write damaged copies of a slide, each in place of the last; of a folder, one file in it is damaged."""
    for seed in range(count):
        rng = np.random.default_rng([seed, len(slide.name)])
        copy = folder / slide.name
        if slide.is_dir():
            shutil.copytree(slide, copy, dirs_exist_ok=True)
            files = sorted(file for file in slide.rglob("*") if file.is_file())
            source = files[int(rng.integers(len(files)))]
            victim = copy / source.relative_to(slide)
        else:
            victim, source = copy, slide
        data = bytearray(source.read_bytes())
        kind = mutate(data, rng)
        victim.unlink(missing_ok=True)
        victim.write_bytes(data)
        yield f"{kind} {seed}", copy


def look(path: Path) -> tuple[str, str]:
    """Open a slide and look at all of it that a person could ask for."""
    from napari_mil import open_slide
    from napari_mil.errors import SlideError

    try:
        slide = open_slide(path)
    except SlideError as error:
        return "refused", str(error)
    faults: list[str] = []

    def attempt(action: Callable[[], Any]) -> None:
        try:
            action()
        except SlideError as error:
            faults.append(str(error))

    with slide:
        attempt(lambda: slide.ref)
        attempt(lambda: slide.thumbnail(256))
        for level, (rows, cols) in enumerate(slide.level_shapes):
            height, width = min(rows, WINDOW_PX), min(cols, WINDOW_PX)
            for part in (0.0, 0.5, 1.0):
                corner = int((rows - height) * part), int((cols - width) * part)
                attempt(lambda k=level, rc=corner, hw=(height, width): slide.read(k, *rc, *hw))
        for name in slide.associated:
            attempt(lambda name=name: slide.associated_image(name))
    return ("damaged", faults[0]) if faults else ("read", repr(slide))


def _attend(pipe: Connection) -> None:
    """Look at one path after the other, in a process that may die of it."""
    import imagecodecs  # noqa: F401  its libraries count as theirs, not as a slide's
    import openslide  # noqa: F401
    import tifffile  # noqa: F401

    logging.disable()  # of what is damaged here, only the outcome is wanted
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = taken + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        try:
            pipe.send(look(pipe.recv()))
        except EOFError:
            return
        except MemoryError as error:
            pipe.send(("memory", repr(error)))
        except Exception as error:  # any other is what is searched for
            pipe.send(("error", f"{type(error).__name__}: {error}"))


class Guard:
    """Looks at files in a process of its own, and in a new one after a crash or a hang."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._process: Any = None

    def look(self, path: Path) -> Outcome:
        """Return what becomes of one file."""
        if self._process is None:
            self._pipe, theirs = self._context.Pipe()
            self._process = self._context.Process(target=_attend, args=(theirs,), daemon=True)
            self._process.start()
            theirs.close()
            time.sleep(0.1)
        start = time.perf_counter()
        self._pipe.send(path)
        try:
            if self._pipe.poll(PATIENCE_S):
                kind, says = self._pipe.recv()
            else:
                kind, says = "hang", f"no answer in {PATIENCE_S:.0f} s"
                self.close()
        except EOFError:
            self._process.join()
            kind, says = "crash", f"exit code {self._process.exitcode}"
            self.close()
        return Outcome(kind, says, time.perf_counter() - start)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._process = None


def survey(slide: Path, count: int, keep: Path | None = None) -> dict[str, Outcome]:
    """Return what becomes of so many mutations of a slide, by the name of the mutation.

    Parameters
    ----------
    slide : pathlib.Path
        A slide's file or DICOM folder.
    count : int
        How many; the first ones are always the same.
    keep : pathlib.Path, optional
        Where to leave a copy of what did not survive.
    """
    guard, found = Guard(), {}
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name, path in mutations(slide, count, Path(folder)):
                found[name] = guard.look(path)
                if keep is not None and found[name].kind not in SURVIVED:
                    keep.mkdir(parents=True, exist_ok=True)
                    (shutil.copytree if path.is_dir() else shutil.copy)(path, keep / f"{name} {path.name}")
    finally:
        guard.close()
    return found


def main() -> None:
    """Survey every small slide; print one JSON line, and on stderr what did not survive."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("slides", nargs="*", type=Path)
    parser.add_argument("--mutations", type=int, default=200)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    slides = given.slides or [SHARED / "slides" / name for name in REAL]
    with tempfile.TemporaryDirectory() as made:
        files = [path for path in slides if path.exists()] + ([] if given.slides else made_slides(Path(made)))
        record: dict[str, Any] = {}
        for path in files:
            outcomes = survey(path, given.mutations, given.keep)
            for name, outcome in outcomes.items():
                if outcome.kind not in SURVIVED:
                    print(f"{path.name}, {name}: {outcome.kind} ({outcome.says})", file=sys.stderr)
            record[path.name] = summary(list(outcomes.values()))
        if not given.slides:
            guard = Guard()
            traps = {path.name: guard.look(path) for path in bombs(Path(made))}
            guard.close()
            for name, outcome in traps.items():
                print(f"{name}: {outcome.kind} in {outcome.seconds:.2f} s ({outcome.says})", file=sys.stderr)
            record["bombs and traps"] = summary(list(traps.values()))
    met = all(set(counts) <= {"longest_s", *SURVIVED} for counts in record.values())
    print(json.dumps({"benchmark": "faults", "mutations": given.mutations, "slides": record, "met": met}))


def summary(outcomes: list[Outcome]) -> dict[str, Any]:
    """Return how many ended in which way, and how long the slowest took."""
    counts = Counter(outcome.kind for outcome in outcomes)
    return {"longest_s": round(max(outcome.seconds for outcome in outcomes), 2)} | dict(counts)


if __name__ == "__main__":
    main()
