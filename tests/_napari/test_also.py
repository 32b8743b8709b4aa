"""What the Run tab offers to compute besides, and what comes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

import napari_mil as nm
from napari_mil._napari.overlay import overlay_of
from napari_mil._napari.widgets.also_field import PASSES, AlsoField
from napari_mil.maps import FURTHER_SCORES
from napari_mil.models import ModelCard


def card(pooling: str, **config: float) -> ModelCard:
    return ModelCard(pooling, 8, config, ("normal", "tumour"))


def test_what_a_model_cannot_or_need_not_compute_is_greyed_with_the_reason(qtbot) -> None:
    field = AlsoField()
    qtbot.addWidget(field)
    field.show_model(card("tda", dropout=0.1))
    for box in (field.gradients, field.leave_out, field.spread):
        assert box.isEnabled()
        assert "as long as" in box.toolTip()
        box.setChecked(True)
    assert sorted(field.scores) == sorted(FURTHER_SCORES)
    assert field.passes == PASSES
    field.show_model(card("attention", dropout=0.0))
    assert not field.leave_out.isEnabled()
    assert "in any case" in field.leave_out.toolTip()
    assert not field.spread.isEnabled()
    assert "no dropout" in field.spread.toolTip()
    # what was ticked for another model is not asked of this one
    assert field.scores == ("gradient_x_input", "integrated_gradients")
    assert field.passes == 0


def test_gradients_and_spread_are_computed_and_shown_on_their_own_scales(
    open_window, run_panel, small_slide: Path, untrained_model: Path, tmp_path: Path
) -> None:
    old = nm.load_model(untrained_model)
    model = nm.create_model("attention", in_features=old.card.in_features, seed=0, dropout=0.3)
    model.card = replace(old.card, pooling="attention", config=model.card.config)
    nm.save_model(tmp_path / "varied.safetensors", model)
    viewer, panel = open_window(small_slide)
    panel.run_tab.add_model(tmp_path / "varied.safetensors")
    panel.run_tab.also.gradients.setChecked(True)
    panel.run_tab.also.spread.setChecked(True)
    run_panel(panel)
    [overlay] = [overlay_of(layer) for layer in viewer.layers if overlay_of(layer) is not None]
    assert overlay.map.prediction.spread.members == PASSES
    tab = panel.heatmap_tab
    assert f"spread over {PASSES} passes with dropout" in tab.prediction.text()
    labels = {choice.value: choice.label for choice in tab.score.choices}
    assert labels["attention_spread"] == "Attention, spread"
    tab.score.choose("attention_spread")
    assert [choice.value for choice in tab.scale.choices] == ["spread"]
    raw = overlay.map.scores["attention_spread"].raw
    np.testing.assert_array_equal(overlay.view.values, raw)
    assert "Attention, spread" in panel.legend.text
    assert "Spread (standard deviation)" in panel.legend.text
    tab.score.choose("integrated_gradients")
    assert [choice.value for choice in tab.scale.choices] == ["contribution", "rank"]
