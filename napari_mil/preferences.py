"""What a person has set in the window and wants to find again: scales, colours, choices, recent slides, the legend.

Kept in one small JSON file in the user's configuration folder (``NAPARI_MIL_CONFIG`` names another). One entry is set
in the file itself: ``"tile_cache_gb"``, the memory for decoded tiles. Only the window
follows it: what is computed without a window depends on what it was given, and on nothing that lies around.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import platformdirs

from .errors import NapariMilError
from .files import replacing

_log = logging.getLogger(__name__)

MOST_SCALES = 1000
"""Slides whose scale is kept; those set longest ago are dropped first."""

MOST_RECENT = 10
"""Slides and files of work that are listed as recent."""

LEGEND_CORNERS = ("top right", "top left", "bottom left", "bottom right")
"""Where on the canvas the legend can lie; at first in the first."""

_MOST_BYTES = 1_000_000
_LEAST_CACHE_GB, _MOST_CACHE_GB = 0.05, 1e5
"""Less than one screen of tiles would have each decoded again and again."""


@dataclass(frozen=True, slots=True)
class OwnScale:
    """The scale that a person has given for a slide.

    Parameters
    ----------
    mpp : (float, float)
        Microns per level-0 pixel, (y, x).
    day : str
        When, as "2026-01-31".
    """

    mpp: tuple[float, float]
    day: str


@dataclass(frozen=True, slots=True)
class Preferences:
    """What has been set.

    Parameters
    ----------
    scales : mapping of str to OwnScale
        By the slide's quickhash, oldest first.
    true_colours : bool
        Whether slides are shown in the colours that their profile gives them.
    tile_cache_gb : float or None
        Most memory for decoded tiles of all slides together, in 10^9 bytes; None for what suits the machine.
    training : mapping of str to str or int
        What was chosen in the Train panel, by field.
    recent : tuple of str
        Paths of slides and files of work, the last one opened first.
    tour_seen : bool
        Whether the tour has been shown.
    legend_corner : str
        One of `LEGEND_CORNERS`.
    legend_folded : bool
        Whether only the legend's title is shown.
    """

    scales: Mapping[str, OwnScale] = field(default_factory=dict)
    true_colours: bool = True
    tile_cache_gb: float | None = None
    training: Mapping[str, str | int] = field(default_factory=dict)
    recent: tuple[str, ...] = ()
    tour_seen: bool = False
    legend_corner: str = LEGEND_CORNERS[0]
    legend_folded: bool = False


def preferences_file() -> Path:
    """Return where preferences are kept; it need not exist."""
    chosen = os.environ.get("NAPARI_MIL_CONFIG")
    folder = Path(chosen) if chosen else platformdirs.user_config_path("napari-mil", appauthor=False)
    return folder / "preferences.json"


def read_preferences() -> Preferences:
    """Return what has been set; what cannot be read counts as never set, which the log notes.

    Returns
    -------
    Preferences
        Never an error.
    """
    path = preferences_file()
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("it is too large")
        return _parsed(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Preferences()
    except (OSError, ValueError, RecursionError) as error:
        _log.warning("%s cannot be read (%s): what was set before is not used.", path, error)
        return Preferences()


def keep_scale(quickhash: str, mpp: tuple[float, float] | None) -> None:
    """Remember the scale that a person gave for a slide.

    Parameters
    ----------
    quickhash : str
        Whose; see `SlideRef`.
    mpp : (float, float) or None
        Microns per level-0 pixel, (y, x); None forgets it.

    Raises
    ------
    NapariMilError
        If the disk refuses.
    """
    known = read_preferences()
    scales = {key: own for key, own in known.scales.items() if key != quickhash}
    if mpp is not None:
        scales[quickhash] = OwnScale(mpp, date.today().isoformat())
    _write(replace(known, scales=dict(list(scales.items())[-MOST_SCALES:])))


def keep_true_colours(true_colours: bool) -> None:
    """Remember whether slides are shown in true or in stored colours.

    Parameters
    ----------
    true_colours : bool
        True for those that the slide's profile gives.

    Raises
    ------
    NapariMilError
        If the disk refuses.
    """
    _write(replace(read_preferences(), true_colours=true_colours))


def keep_training(choices: Mapping[str, str | int]) -> None:
    """Remember what was chosen in the Train panel.

    Parameters
    ----------
    choices : mapping of str to str or int
        By field.

    Raises
    ------
    NapariMilError
        If the disk refuses.
    """
    _write(replace(read_preferences(), training=dict(choices)))


def keep_recent(path: Path) -> None:
    """Put a slide or a file of work at the head of the recent ones.

    Parameters
    ----------
    path : Path
        It.

    Raises
    ------
    NapariMilError
        If the disk refuses.
    """
    known, own = read_preferences(), str(path.absolute())
    recent = (own, *(one for one in known.recent if one != own))[:MOST_RECENT]
    if recent != known.recent:
        _write(replace(known, recent=recent))


def keep_tour_seen() -> None:
    """Remember that the tour has been shown.

    Raises
    ------
    NapariMilError
        If the disk refuses.
    """
    known = read_preferences()
    if not known.tour_seen:
        _write(replace(known, tour_seen=True))


def keep_legend(corner: str, *, folded: bool) -> None:
    """Remember where the legend lies, and whether it is folded up.

    Parameters
    ----------
    corner : str
        One of `LEGEND_CORNERS`.
    folded : bool
        Whether only its title is shown.

    Raises
    ------
    NapariMilError
        If the disk refuses.
    """
    if corner not in LEGEND_CORNERS:
        raise ValueError(f"corner must be one of {LEGEND_CORNERS}, not {corner!r}")
    known = read_preferences()
    if (known.legend_corner, known.legend_folded) != (corner, folded):
        _write(replace(known, legend_corner=corner, legend_folded=folded))


def _parsed(raw: Any) -> Preferences:
    """Return the preferences in parsed JSON; single entries that make no sense are left out."""
    if not isinstance(raw, dict):
        raise ValueError("it holds no preferences")
    scales = {}
    entries = raw.get("scales")
    for quickhash, entry in (entries if isinstance(entries, dict) else {}).items():
        try:
            y, x = (float(v) for v in entry["mpp"])
            own = OwnScale((y, x), str(entry["day"]))
        except (KeyError, TypeError, ValueError):
            continue
        if all(math.isfinite(v) and v > 0 for v in own.mpp):
            scales[quickhash] = own
    chosen = raw.get("training")
    training = {
        key: value
        for key, value in (chosen if isinstance(chosen, dict) else {}).items()
        if isinstance(value, str | int) and not isinstance(value, bool)
    }
    paths = raw.get("recent")
    recent = tuple(path for path in (paths if isinstance(paths, list) else []) if isinstance(path, str))[:MOST_RECENT]
    return Preferences(
        scales,
        raw.get("true_colours") is not False,
        _cache_gb(raw.get("tile_cache_gb")),
        training,
        recent,
        raw.get("tour_seen") is True,
        next((corner for corner in LEGEND_CORNERS if corner == raw.get("legend_corner")), LEGEND_CORNERS[0]),
        raw.get("legend_folded") is True,
    )


def _cache_gb(raw: Any) -> float | None:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return None
    return float(raw) if _LEAST_CACHE_GB <= raw <= _MOST_CACHE_GB else None


def _write(known: Preferences) -> None:
    path = preferences_file()
    record = {
        "scales": {key: {"mpp": list(own.mpp), "day": own.day} for key, own in known.scales.items()},
        "true_colours": known.true_colours,
        "tile_cache_gb": known.tile_cache_gb,
        "training": dict(known.training),
        "recent": list(known.recent),
        "tour_seen": known.tour_seen,
        "legend_corner": known.legend_corner,
        "legend_folded": known.legend_folded,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NapariMilError(f"{path.parent} cannot be made ({error.strerror}): what you set is not kept.") from error
    with replacing(path, NapariMilError) as partial:
        partial.write_text(json.dumps(record, indent=1), encoding="utf-8")
