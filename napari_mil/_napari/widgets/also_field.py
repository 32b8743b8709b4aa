"""What to compute besides the model's own scores: gradients, leaving patches out, spread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QCheckBox, QGridLayout, QWidget

from ...models import gives_leave_one_out, has_dropout

if TYPE_CHECKING:
    from ...models import ModelCard

PASSES = 20
_GRADIENTS = (
    "How the prediction answers to each patch's features: gradient times input, and integrated gradients on the way "
    "from a bag of zero features. Takes as long as some hundred predictions per class: a while with tens of "
    "thousands of patches."
)
_LEAVE_OUT = (
    "How the prediction changes without each patch. This model must be computed anew for it: as long as one prediction "
    "per patch."
)
_GIVEN = "Nothing to compute: this model gives the effect of leaving each patch out in any case."
_SPREAD = (
    f"How sure the model is of itself: {PASSES} predictions with its dropout left on. Prediction and scores become "
    f"their mean, and each score gets its spread. Takes as long as {PASSES} predictions."
)
_NO_DROPOUT = (
    "This model has no dropout, so every prediction is the same. The spread over several models comes from the command "
    "line: napari-mil run --model A --model B."
)


class AlsoField(QWidget):
    """Three boxes; what a model cannot or need not compute is greyed, with the reason in its tooltip.

    Parameters
    ----------
    parent : QWidget or None
        Qt parent.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.gradients, self.leave_out = QCheckBox("gradients", self), QCheckBox("leaving each patch out", self)
        self.spread = QCheckBox("spread", self)
        self.gradients.setToolTip(_GRADIENTS)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(2)
        grid.addWidget(self.gradients, 0, 0)
        grid.addWidget(self.spread, 0, 1)
        grid.addWidget(self.leave_out, 1, 0, 1, 2)
        for box in (self.gradients, self.spread, self.leave_out):
            box.setAccessibleName(f"Also compute: {box.text()}")
        self.show_model(None)

    def show_model(self, card: ModelCard | None) -> None:
        """Offer what the chosen model can compute."""
        recomputed = card is not None and not gives_leave_one_out(card.pooling)
        self.leave_out.setEnabled(recomputed)
        self.leave_out.setToolTip(_LEAVE_OUT if recomputed else _GIVEN)
        varied = card is not None and has_dropout(card)
        self.spread.setEnabled(varied)
        self.spread.setToolTip(_SPREAD if varied else _NO_DROPOUT)

    @property
    def scores(self) -> tuple[str, ...]:
        """Further scores to compute, as `iter_run` takes them."""
        gradients = ("gradient_x_input", "integrated_gradients") if self.gradients.isChecked() else ()
        return (*(("leave_one_out",) if _wanted(self.leave_out) else ()), *gradients)

    @property
    def passes(self) -> int:
        """Passes with dropout on, 0 for none."""
        return PASSES if _wanted(self.spread) else 0


def _wanted(box: QCheckBox) -> bool:
    return box.isEnabled() and box.isChecked()
