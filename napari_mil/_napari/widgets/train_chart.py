"""One chart of curves by epoch, in colours that differ for every eye and on dark and light themes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

# Okabe and Ito's colours, of each pair the one that stands out on a light and on a dark ground
_COLOURS = {"training": ("#0072b2", "#56b4e9"), "validation": ("#c04d00", "#f0a030")}
_DASHES = {"training": Qt.PenStyle.SolidLine, "validation": Qt.PenStyle.DashLine}
_TICKS = 4


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a `Chart`.

    Parameters
    ----------
    name : str
        For the tooltip.
    kind : str
        "training" or "validation".
    epochs : sequence of int
        Its places.
    values : sequence of float
        Its heights; what is not finite is left out.
    strong : bool
        Whether it is in front.
    kept : int or None
        The epoch to mark.
    """

    name: str
    kind: str
    epochs: Sequence[int]
    values: Sequence[float]
    strong: bool
    kept: int | None = None


class Chart(QWidget):
    """Curves by epoch with axes, a legend, and the figures under the mouse.

    Parameters
    ----------
    title : str
        What the heights are.
    parent : QWidget or None
        Qt parent.
    top : float or None
        Upper end of the heights; None goes as high as the curves.
    guide : (float, str) or None
        A height to draw a line at, and what it means.
    """

    def __init__(
        self,
        title: str,
        parent: QWidget | None = None,
        *,
        top: float | None = None,
        guide: tuple[float, str] | None = None,
    ) -> None:
        super().__init__(parent)
        self._title, self._top, self._guide = title, top, guide
        self._curves: list[Curve] = []
        self.setMouseTracking(True)
        self.setMinimumHeight(110)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.show_curves([])

    @property
    def curves(self) -> tuple[Curve, ...]:
        """What is drawn, those in front last."""
        return tuple(self._curves)

    def sizeHint(self) -> QSize:
        """Return the preferred size."""
        return QSize(280, 170)

    def show_curves(self, curves: Sequence[Curve]) -> None:
        """Draw these curves in place of those before.

        Parameters
        ----------
        curves : sequence of Curve
            Those in front last.
        """
        self._curves = list(curves)
        last = [f"{curve.name} {_figure(curve.values[-1])}" for curve in self._curves if curve.strong]
        self.setAccessibleName(self._title)
        self.setAccessibleDescription("; ".join(last) or "No epoch yet")
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw title, legend, axes and curves."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        area, span, high = self._area(), self._span(), self._high()
        line = self.fontMetrics().height()
        painter.setPen(ink)
        painter.drawText(QRectF(0, 0, self.width(), line), Qt.AlignmentFlag.AlignLeft, self._title)
        self._draw_legend(painter, ink, QRectF(0, line, self.width(), line))
        self._draw_axes(painter, ink, area, span, high)
        for curve in self._curves:
            self._draw_curve(painter, curve, ink)
        if not self._curves:
            painter.setPen(_faint(ink, 150))
            painter.drawText(area, Qt.AlignmentFlag.AlignCenter, "No epoch yet")
        painter.end()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Tell the figures of the epoch under the mouse."""
        area, at = self._area(), event.position()
        if not self._curves or not area.adjusted(-4, -4, 4, 4).contains(at):
            QToolTip.hideText()
            return
        wanted = 1 + (at.x() - area.left()) / area.width() * (self._span() - 1)
        QToolTip.showText(event.globalPosition().toPoint(), self._words_at(round(wanted)), self)

    def leaveEvent(self, event: QEvent) -> None:
        """Take the figures away."""
        QToolTip.hideText()
        super().leaveEvent(event)

    def _words_at(self, epoch: int) -> str:
        lines = [
            f"{curve.name}: {_figure(value)}"
            for curve in reversed(self._curves)
            for place, value in zip(curve.epochs, curve.values, strict=True)
            if place == epoch and math.isfinite(value)
        ]
        return "\n".join([f"Epoch {epoch}", *lines]) if lines else ""

    def _area(self) -> QRectF:
        """Return where the curves are: what title, legend and numbers leave over."""
        metrics = self.fontMetrics()
        line, left = metrics.height(), metrics.horizontalAdvance("0.000") + 6
        return QRectF(left, 2 * line + 6, max(1, self.width() - left - 8), max(1, self.height() - 4 * line - 14))

    def _span(self) -> int:
        """Return the last epoch on the axis."""
        return max([2, *(epoch for curve in self._curves for epoch in curve.epochs)])

    def _high(self) -> float:
        if self._top is not None:
            return self._top
        finite = [value for curve in self._curves for value in curve.values if math.isfinite(value)]
        return _round_up(max(finite, default=1.0))

    def _place(self, epoch: float, value: float) -> QPointF:
        area = self._area()
        x = area.left() + (epoch - 1) / (self._span() - 1) * area.width()
        return QPointF(x, area.bottom() - value / self._high() * area.height())

    def _draw_legend(self, painter: QPainter, ink: QColor, box: QRectF) -> None:
        kinds = [kind for kind in _COLOURS if any(curve.kind == kind for curve in self._curves)]
        marked = any(curve.strong and curve.kept for curve in self._curves)
        x = box.left()
        for kind in [*kinds, *(["kept"] if marked else [])]:
            painter.setPen(self._pen(kind if kind in _COLOURS else "validation", ink, strong=True))
            if kind == "kept":
                painter.setPen(QPen(painter.pen().color(), 2))
                painter.drawEllipse(QPointF(x + 8, box.center().y()), 4, 4)
            else:
                painter.drawLine(QPointF(x, box.center().y()), QPointF(x + 20, box.center().y()))
            x += 24 if kind != "kept" else 18
            painter.setPen(ink)
            words = "epoch kept" if kind == "kept" else kind
            painter.drawText(QPointF(x, box.bottom() - self.fontMetrics().descent()), words)
            x += self.fontMetrics().horizontalAdvance(words) + 12

    def _draw_axes(self, painter: QPainter, ink: QColor, area: QRectF, span: int, high: float) -> None:
        line = self.fontMetrics().height()
        for n in range(_TICKS + 1):
            value = high * n / _TICKS
            y = self._place(1, value).y()
            painter.setPen(QPen(_faint(ink, 60), 1))
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            if n % 2 == 0:
                painter.setPen(ink)
                box = QRectF(0, y - line / 2, area.left() - 5, line)
                painter.drawText(box, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, f"{value:.3g}")
        if self._guide is not None and self._curves:
            value, words = self._guide
            y = self._place(1, value).y()
            painter.setPen(QPen(_faint(ink, 160), 1, Qt.PenStyle.DotLine))
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            painter.setPen(_faint(ink, 200))
            painter.drawText(QPointF(area.left() + 4, y + line - 3), words)
        painter.setPen(ink)
        below = QRectF(area.left(), area.bottom() + 3, area.width(), line)
        for epoch, side in ((1, Qt.AlignmentFlag.AlignLeft), (span, Qt.AlignmentFlag.AlignRight)):
            painter.drawText(below, side, str(epoch))
        painter.drawText(below, Qt.AlignmentFlag.AlignHCenter, "Epoch")

    def _draw_curve(self, painter: QPainter, curve: Curve, ink: QColor) -> None:
        points = [
            self._place(epoch, value)
            for epoch, value in zip(curve.epochs, curve.values, strict=True)
            if math.isfinite(value)
        ]
        pen = self._pen(curve.kind, ink, strong=curve.strong)
        painter.setPen(pen)
        painter.drawPolyline(QPolygonF(points))
        if len(points) == 1:
            painter.drawEllipse(points[0], 2, 2)
        if curve.strong and curve.kept is not None and curve.kept in curve.epochs:
            value = curve.values[list(curve.epochs).index(curve.kept)]
            if math.isfinite(value):
                painter.setPen(QPen(pen.color(), 2))
                painter.drawEllipse(self._place(curve.kept, value), 4, 4)

    def _pen(self, kind: str, ink: QColor, *, strong: bool) -> QPen:
        colour = QColor(_COLOURS[kind][ink.lightness() > 128])
        if not strong:
            colour.setAlpha(90)
        return QPen(colour, 2 if strong else 1, _DASHES[kind])


def _faint(colour: QColor, alpha: int) -> QColor:
    faint = QColor(colour)
    faint.setAlpha(alpha)
    return faint


def _figure(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "not known"


def _round_up(value: float) -> float:
    """Return the next of 1, 2, 4, 6, 8 times a power of ten; 1 for nothing."""
    if value <= 0:
        return 1.0
    power = float(10.0 ** math.floor(math.log10(value)))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= value * 0.999999)
