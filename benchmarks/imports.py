"""How long importing the package and reading its manifest takes, beside a Python that does nothing.

Goal: at most 0.15 s more than ``python -c pass``. ``python -m benchmarks.imports``
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

STATEMENTS = {
    "python": "pass",
    "package": "import napari_mil",
    "package_and_manifest": (
        "import napari_mil, pathlib; pathlib.Path(napari_mil.__file__).with_name('napari.yaml').read_text()"
    ),
    "npe2_alone": "import npe2",
    "npe2_and_our_manifest": "import npe2; npe2.PluginManifest.from_distribution('napari-mil')",
}
RUNS = 9


def main() -> None:
    """Time each statement in turn, round by round, so that a slow moment hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for round_number in range(RUNS + 1):
        for name, statement in STATEMENTS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", statement], check=True)
            if round_number:  # the first warms the disk
                seconds[name].append(time.perf_counter() - start)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    more = median["package_and_manifest"] - median["python"]
    manifest = median["npe2_and_our_manifest"] - median["npe2_alone"]
    result = {
        "benchmark": "imports",
        "median_s": {name: round(value, 4) for name, value in median.items()},
        "more_than_python_s": round(more, 4),
        "manifest_more_than_npe2_s": round(manifest, 4),
        "goal_s": 0.15,
        "met": more <= 0.15 and manifest <= 0.15,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
