"""``python -m napari_mil.cli``."""

from . import main

main()
