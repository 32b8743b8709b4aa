"""Helpers for the tests of training: small tables and bags that can be told apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_mil.features import EncoderInfo
from napari_mil.training import Bags, Cohort

ENCODER = EncoderInfo("toy", "1", "0123456789abcdef", 4, 64, 1.0)


@pytest.fixture(autouse=True, scope="session")
def _few_threads() -> None:
    torch.set_num_threads(1)  # tiny bags: threads cost more than they give


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes lines as a table."""

    def write(*lines: str, encoding: str = "utf-8") -> Path:
        path = tmp_path / "cohort.csv"
        path.write_text("\n".join(lines) + "\n", encoding=encoding)
        return path

    return write


def make_separable(n_slides: int = 24, class_names: tuple[str, ...] = ("normal", "tumour")) -> tuple[Cohort, Bags]:
    """Make a cohort whose classes differ by a few patches per slide."""
    g = np.random.default_rng(7)
    slides = tuple(f"s{i:02d}" for i in range(n_slides))
    labels = tuple(class_names[i % len(class_names)] for i in range(n_slides))
    values = {}
    for slide, label in zip(slides, labels, strict=True):
        bag = g.normal(size=(int(g.integers(5, 12)), 4))
        bag[:3, 0] += 6 * class_names.index(label)
        values[slide] = (bag * [1, 10, 0.1, 1] + [0, 50, 0, -3]).astype(np.float32)  # features in odd units
    return Cohort(slides, labels, slides, None, class_names, {}), Bags(values, ENCODER)


@pytest.fixture(scope="session")
def separable() -> Callable[..., tuple[Cohort, Bags]]:
    """Return `make_separable`."""
    return make_separable
