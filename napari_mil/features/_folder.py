"""Where models and encoders are kept."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def models_folder() -> Path:
    """Return the folder of models and encoders: ``NAPARI_MIL_MODELS``, else one in the user's data folder.

    The folder need not exist yet.
    """
    chosen = os.environ.get("NAPARI_MIL_MODELS")
    if chosen:
        return Path(chosen).expanduser()
    return platformdirs.user_data_path("napari-mil", appauthor=False) / "models"
