"""What a prediction costs in time and memory beside torchmil's model of the same name and sizes.

A pair of models reads bags of 1000, 10 000 and 100 000 patches of 1024 numbers: ours with every score that it gives,
torchmil's with the attention that it returns (``return_att``; DTFDMIL: ``return_inst_cam``), both in float32 under
``torch.inference_mode``. Goal: no slower, and half its extra memory. Ours without scores is stated besides.

Time: processor seconds of all threads (by default one: other work on a shared machine then hardly counts), both in one
process, in turn, medians of the rounds after one warm-up each. Memory: a process each; what the
largest resident set during one prediction exceeds the resident set just before it, the bag being there, after a small
bag has set torch up. Linux counts it (VmHWM, reset before the prediction). A process that needs more than `LIMIT_GIB`
is refused memory, and the table says so.

Run ``python -m benchmarks.cost``; figures are kept in ``results/benchmarks/cost`` (``--again`` measures anew) and the
table in docs/benchmarks.md is written from them. ``--wall`` prints wall time instead, of 50 000 patches: with several
threads on a busy machine that is what waiting for one another costs, of which processor time says nothing.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks._tables import RESULTS, Figures, Kept, rewrite, table
from napari_mil.models import create_model

D = 1024
SIZES = (1_000, 10_000, 100_000)
ROUNDS = {1_000: 21, 10_000: 7, 100_000: 3}
LONG_ROUNDS = {1_000: 5, 10_000: 2, 100_000: 1}  # of transmil, which takes a hundred times as long
LIMIT_GIB = 8
TRANSMIL_PATCHES, TRANSMIL_GIB = 50_000, 1.0
WALL_PATCHES, WALL_ROUNDS = 50_000, 7
Call = Callable[[Tensor], object]


@dataclass(frozen=True, slots=True)
class Pair:
    """One of our poolings and torchmil's model: its class, its arguments, the length of its projection (0: none)."""

    theirs: str
    arguments: dict[str, Any]
    projection: int
    ours: dict[str, float | str]
    asked: str = "return_att"


PAIRS = {
    "attention": Pair("ABMIL", {"att_dim": 128}, 256, {"hidden": 256}),
    "gated-attention": Pair("ABMIL", {"att_dim": 128, "gated": True}, 256, {"hidden": 256}),
    "clam-sb": Pair("CLAM_SB", {"att_dim": 256, "gated": True}, 512, {"hidden": 512}),
    "dsmil": Pair("DSMIL", {"att_dim": 128, "nonlinear_q": True}, 0, {}),
    "transmil": Pair("TransMIL", {"att_dim": 512, "n_heads": 8, "n_landmarks": 256}, 0, {"hidden": 512}),
    "dtfd": Pair(
        "DTFDMIL",
        {"att_dim": 128, "n_groups": 4, "distill_mode": "afs"},
        512,
        {"hidden": 512, "splits": 1},
        "return_inst_cam",
    ),
}


def ours(pooling: str, scores: bool) -> Call:
    """Return our model of a pair as a function of the bag (N, D)."""
    model = create_model(pooling, in_features=D, n_classes=1, seed=0, **PAIRS[pooling].ours)
    return lambda bag: model(bag, scores=scores)


def theirs(pooling: str) -> Call:
    """Return torchmil's model of a pair as a function of the bag (N, D)."""
    import torchmil.models

    pair = PAIRS[pooling]
    projection = [nn.Linear(D, pair.projection), nn.ReLU()] if pair.projection else []
    made = getattr(torchmil.models, pair.theirs)
    model = made(in_shape=(D,), feat_ext=nn.Sequential(*projection), **pair.arguments).eval()
    return lambda bag: model(bag[None], **{pair.asked: True})


def make_bag(n: int) -> Tensor:
    """Return a bag filled in place, so that making it leaves no peak of memory behind."""
    return torch.empty(n, D).normal_(generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def time_in_turn(
    calls: dict[str, Call], n: int, rounds: int, clock: Callable[[], float] = time.process_time
) -> Figures:
    """Return the median seconds of each call by a clock, taken in turn."""
    bag = make_bag(n)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            start = clock()
            call(bag)
            seconds[name].append(clock() - start)
    return {name: sorted(values[1:])[len(values[1:]) // 2] for name, values in seconds.items()}


@torch.inference_mode()
def extra_memory(call: Call, n: int) -> Figures:
    """Return by how many MiB the largest resident set during a call exceeds that before it."""
    call(make_bag(64))
    bag = make_bag(n)
    ctypes.CDLL(None).malloc_trim(0)  # what the small bag left in reserve is not to serve the large one
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # VmHWM begins anew at VmRSS
    before = _status("VmRSS")
    call(bag)
    return {"mib": (_status("VmHWM") - before) / 1024}


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))  # kB


def in_a_process(what: str, pooling: str, n: int, threads: int) -> Figures:
    """Measure in a process of its own; ``{"refused": ...}`` where it needs more memory than the limit."""
    command = [sys.executable, "-m", "benchmarks.cost", "--child", what, pooling, str(n), "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    if "alloc" in done.stderr or "MemoryError" in done.stderr or done.returncode < 0:
        return {"refused": f"more than {LIMIT_GIB} GiB"}
    raise SystemExit(done.stderr)


def _child(what: str, pooling: str, n: int) -> Figures:
    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT_GIB << 30, LIMIT_GIB << 30))
    if what == "ours":
        return extra_memory(ours(pooling, scores=True), n)
    if what == "plain":
        return extra_memory(ours(pooling, scores=False), n)
    if what == "theirs":
        return extra_memory(theirs(pooling), n)
    calls = {"ours": ours(pooling, scores=True), "plain": ours(pooling, scores=False)}
    if what == "wall":
        return time_in_turn(calls | {"theirs": theirs(pooling)}, n, WALL_ROUNDS, time.perf_counter)
    rounds = (LONG_ROUNDS if pooling == "transmil" else ROUNDS)[n]
    return time_in_turn(calls if what == "time-ours" else calls | {"theirs": theirs(pooling)}, n, rounds)


def measure(pooling: str, n: int, threads: int) -> Figures:
    """Return times and extra memory of a pair for one size of bag, and the machine's load then."""
    memory = {what: in_a_process(what, pooling, n, threads) for what in ("ours", "plain", "theirs")}
    what = "time-ours" if "refused" in memory["theirs"] else "time"
    return {"memory": memory, "seconds": in_a_process(what, pooling, n, threads), "load": os.getloadavg()[0]}


def write_table(kept: Kept, names: Sequence[str]) -> None:
    """Write times, memory and ratios of all pairs; what misses its goal is bold."""
    rows = []
    for pooling in names:
        for n in SIZES:
            found = kept.find(pooling, n)
            if found is not None:
                rows.append([f"{pooling}, {PAIRS[pooling].theirs}", f"{n:,}".replace(",", " "), *_cells(found)])
    head = ["ours, torchmil's", "patches", "ours, ms", "without scores", "torchmil, ms", "ratio (goal: 1)"]
    head += ["ours, MiB", "without scores", "torchmil, MiB", "ratio (goal: 0.5)"]
    large = kept.find("transmil", TRANSMIL_PATCHES)
    text = table(head, rows)
    if large is not None:
        gib = large["mib"] / 1024
        said = f"`transmil` takes {gib:.2f} GiB beside the bag for {TRANSMIL_PATCHES} patches (goal: {TRANSMIL_GIB})."
        text += f"\n\n{said if gib <= TRANSMIL_GIB else f'**{said}**'}"
    rewrite("cost", text)


def _cells(found: Figures) -> list[str]:
    seconds, memory = found["seconds"], found["memory"]
    times = [_short(1000 * seconds[key]) for key in ("ours", "plain")]
    mib = [_short(memory[key]["mib"]) for key in ("ours", "plain")]
    if "refused" in memory["theirs"]:
        most = memory["ours"]["mib"] / 1024 / LIMIT_GIB
        return [*times, "", "", *mib, memory["theirs"]["refused"], f"below {most:.2f}"]
    slow = seconds["ours"] / seconds["theirs"]
    large = memory["ours"]["mib"] / memory["theirs"]["mib"]
    slower = f"{slow:.2f}" if slow <= 1 else f"**{slow:.2f}**"
    larger = f"{large:.2f}" if large <= 0.5 else f"**{large:.2f}**"
    return [*times, _short(1000 * seconds["theirs"]), slower, *mib, _short(memory["theirs"]["mib"]), larger]


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 20 else f"{value:.1f}"


def main() -> None:
    """Measure what is asked for and not there yet, and write the table."""
    parser = argparse.ArgumentParser(description="Time and memory of a prediction beside torchmil's.")
    parser.add_argument("--poolings", nargs="+", choices=PAIRS, default=list(PAIRS))
    parser.add_argument("--sizes", nargs="+", type=int, choices=SIZES, default=list(SIZES))
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--again", action="store_true", help="measure anew what was measured before")
    parser.add_argument("--wall", action="store_true", help="print wall time and the machine's load, and nothing else")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.child:
        what, pooling, n = args.child
        print(json.dumps(_child(what, pooling, int(n))))
        return
    if args.wall:
        for pooling in args.poolings:
            found = in_a_process("wall", pooling, WALL_PATCHES, args.threads)
            print(json.dumps({"pooling": pooling, "wall": found, "load": os.getloadavg()[0]}), flush=True)
        return
    kept = Kept(RESULTS / "cost", {"threads": args.threads, "rounds": [ROUNDS, LONG_ROUNDS]})
    for pooling in args.poolings:
        for n in args.sizes:
            kept.make(lambda p=pooling, n=n: measure(p, n, args.threads), pooling, n, again=args.again)
    if "transmil" in args.poolings:
        many = TRANSMIL_PATCHES
        kept.make(lambda: in_a_process("ours", "transmil", many, args.threads), "transmil", many, again=args.again)
    write_table(kept, list(PAIRS))


if __name__ == "__main__":
    main()
