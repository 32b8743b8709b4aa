"""The registry of encoders as a table: what each takes, on what terms, and how it suits this machine."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .features import EncoderEntry

_COLUMNS = ("name", "numbers", "patch", "licence", "on this machine")


def describe_encoders(*, device: str = "auto") -> tuple[dict[str, Any], str]:
    """List all encoders: those at hand, then those that are known by name.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda", "mps"}
        Where they would run.

    Returns
    -------
    (dict, str)
        JSON-able record, and the same as text.

    Raises
    ------
    EncoderError
        Where a GPU is asked for that cannot be used.
    """
    from .features import fitness, known_encoders, list_encoders, models_folder

    at_hand = list_encoders()
    names = {entry.name for entry in at_hand}
    entries = [*at_hand, *(entry for entry in known_encoders() if entry.name not in names)]
    found = [(entry, fitness(entry, device=device)) for entry in entries]
    record = {
        "models_folder": str(models_folder()),
        "encoders": [asdict(entry) | {"fitness": words} for entry, words in found],
    }
    rows = [_COLUMNS, *(_row(entry, words) for entry, words in found)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(_COLUMNS) - 1)]
    lines = ["  ".join([*(text.ljust(w) for text, w in zip(row, widths, strict=False)), row[-1]]) for row in rows]
    lines += [
        "",
        "Besides: timm:<any model of timm>, and files in the models folder (TorchScript; programs exported by PyTorch,",
        f".pt2; folders with config.json and safetensors): {models_folder()}",
    ]
    return record, "\n".join(lines)


def _row(entry: EncoderEntry, words: str) -> tuple[str, ...]:
    info = entry.info
    patch = f"{info.tile_px} px at {info.mpp:g} µm" if info and info.tile_px and info.mpp else "?"
    numbers = str(info.dim) if info and info.dim else "?"
    licence = (entry.licence or "?") + (", gated" if entry.gated else "")
    if words.startswith("The weights"):  # the whole sentence, twenty times over, would bury the rest
        words = f"weights not here: {'on request' if entry.gated else 'fetched at first use'} from {entry.source}"
    return info.name if info else entry.title, numbers, patch, licence, words
