"""A drop-down list narrower than its names."""

from __future__ import annotations

import pytest

from napari_mil._napari.widgets.choice_box import Choice, ChoiceBox

NAMES = ("Demo: tumour in generated slides (gated attention)", "Demo: tumour in generated slides (mean)")


@pytest.fixture
def box(qtbot) -> ChoiceBox:
    box = ChoiceBox("Map")
    qtbot.addWidget(box)
    box.set_choices(Choice(name, k) for k, name in enumerate(NAMES))
    box.show()
    return box


def test_names_that_differ_at_the_end_can_be_told_apart_when_closed(box):
    box.resize(200, 28)
    shown = []
    for k in range(2):
        box.choose(k)
        shown.append(box.closed_text)
        assert box.fontMetrics().horizontalAdvance(box.closed_text) < 200
    assert shown[0].endswith("attention)")
    assert shown[1].endswith("(mean)")
    assert all(text.startswith("Demo") for text in shown)
    before = box.grab().toImage()
    box.choose(0)
    assert box.grab().toImage() != before
    box.resize(900, 28)
    assert box.closed_text == NAMES[0]


def test_where_none_can_be_chosen_the_closed_list_says_so(box):
    box.resize(300, 28)
    before = box.grab().toImage()
    box.set_choices([Choice(NAMES[0], 0, reason="of another encoder")])
    assert box.current is None
    assert box.closed_text == "None of these can be used"
    said = box.grab().toImage()
    assert said != before
    box.set_choices([])
    assert box.closed_text == ""
    assert box.grab().toImage() != said
