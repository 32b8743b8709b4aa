"""The command line, ``napari-mil``: every command is a thin driver of a public function.

Heavy rooms are imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

# importing them adds their commands
from . import _compare, _evaluate, _export, _finetune, _look, _slides, _train  # noqa: F401
from ._options import app

__all__ = ["app", "main"]


def _version(value: bool) -> None:
    if value:
        from .. import __version__

        print(f"napari-mil {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Where did the model look, and was it right? Attention MIL on whole-slide images."""


def main() -> None:
    """Run the command line."""
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # our own sentences say what it found
    sys.exit(app())
