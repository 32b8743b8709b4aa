"""How a bag is parted: blocks of nearly one size, few of them where several threads would have to meet after each."""

from __future__ import annotations

import pytest
import torch

from napari_mil.models import _bag


@pytest.fixture
def threads():
    """Let a test set the number of threads, and set it back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def sizes(n: int) -> list[int]:
    bag, like = torch.arange(n, dtype=torch.float32)[:, None], torch.zeros(1)
    seen = []
    with torch.no_grad():
        joined = _bag.read_rows(bag, like, lambda rows: seen.append(len(rows)) or rows)
    assert torch.equal(joined, bag)
    return seen


@pytest.mark.parametrize(
    ("count", "n", "expected"),
    [
        (1, 7, [7]),
        (1, 1000, [250] * 4),
        (1, 20_001, [2001] * 9 + [1992]),
        (2, 1000, [250] * 4),
        (2, 50_001, [12_501] * 3 + [12_498]),
        (4, 9, [9]),
    ],
)
def test_blocks_are_of_one_size_and_few_for_several_threads(threads, count, n, expected):
    threads(count)
    assert sizes(n) == expected
