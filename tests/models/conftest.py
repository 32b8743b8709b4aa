"""Helpers for the tests of the models."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch

from napari_mil.models import MILModel, create_model

Fill = Callable[..., MILModel]


@pytest.fixture(scope="session")
def explicit_model() -> Fill:
    """Return a function that makes a model with weights given by hand."""

    def fill(name: str, n_classes: int, config: dict[str, int], **weights: Sequence[object]) -> MILModel:
        in_features = len(weights["projection_weight"][0])  # type: ignore[arg-type]
        model = create_model(name, in_features=in_features, n_classes=n_classes, **config)
        state = {}
        for key, values in weights.items():
            layer, _, part = key.rpartition("_")
            state[f"{layer}.{part}" if layer else part] = torch.tensor(values, dtype=torch.float32)
        model.load_state_dict(state)
        return model

    return fill
