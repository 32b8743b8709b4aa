"""Run the quick benchmarks one after the other: ``python -m benchmarks``."""

from __future__ import annotations

import subprocess
import sys

QUICK = ("imports", "first_overlay", "threshold", "read")


def main() -> int:
    """Run them; the exit status is the number that failed."""
    failed = 0
    for name in QUICK:
        print(f"# {name}", flush=True)
        failed += subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
