"""Run the quick benchmarks one after the other: ``python -m benchmarks``; with ``--all`` those that take hours too."""

from __future__ import annotations

import subprocess
import sys

QUICK = (("imports",), ("first_overlay",), ("threshold",), ("read",), ("outlines",))
LONG = (("cost",), ("idc_bags", "--faithfulness"), ("mnist_bags",), ("mnist_bags", "--short"), ("classic_bags",))


def main() -> int:
    """Run them; the exit status is the number that failed."""
    failed = 0
    for name, *arguments in QUICK + (LONG if "--all" in sys.argv[1:] else ()):
        print(f"# {name}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
        failed += subprocess.run(command, check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
