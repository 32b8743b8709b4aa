"""Progress: what it derives, and how often a loop reports."""

from __future__ import annotations

import pytest

from napari_mil.progress import Pacer, Progress, Steps, finish


def test_fraction_and_time_left_follow_from_counts_and_rate() -> None:
    step = Progress("Reading", done=25, total=100, rate=5.0)
    assert step.fraction == 0.25
    assert step.seconds_left == 15.0


def test_unknown_total_gives_no_fraction_and_no_time() -> None:
    step = Progress("Opening", done=3, total=0, rate=5.0)
    assert step.fraction is None
    assert step.seconds_left is None
    assert Progress("Opening", done=3, total=9, rate=0.0).seconds_left is None


def test_fraction_never_exceeds_one() -> None:
    step = Progress("Reading", done=7, total=5, rate=1.0)
    assert step.fraction == 1.0
    assert step.seconds_left == 0.0


def test_finish_returns_what_the_generator_returns() -> None:
    def work() -> Steps[int]:
        yield Progress("a")
        yield Progress("b")
        return 42

    assert finish(work()) == 42


def test_pacer_reports_at_most_ten_a_second_and_always_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("napari_mil.progress.time.monotonic", lambda: now)
    pacer = Pacer("Reading", total=1000)
    seen = []
    for done in range(1, 1001):
        now += 0.001
        step = pacer.step(done)
        if step:
            seen.append(step)
    assert 10 <= len(seen) <= 12
    assert seen[-1].done == 1000
    assert seen[-1].rate == pytest.approx(1000.0, rel=1e-6)


def test_pacer_does_not_count_what_an_earlier_run_did(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("napari_mil.progress.time.monotonic", lambda: now)
    pacer = Pacer("Reading", total=1000, done=900)
    now = 2.0
    step = pacer.step(920)
    assert step is not None
    assert step.rate == pytest.approx(10.0)
