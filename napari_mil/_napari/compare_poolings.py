"""Every model that takes a map's features, run on those features; nothing is extracted again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import FeaturesError, NapariMilError
from ..models import check_fit
from ..progress import Progress

if TYPE_CHECKING:
    from ..maps import AttentionMap
    from ..models import ModelEntry
    from ..progress import Steps


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What one model came to.

    Parameters
    ----------
    name : str
        The model.
    map : AttentionMap or None
        Its map, or None where it failed.
    error : str
        Why it failed, in words; empty where it did not.
    """

    name: str
    map: AttentionMap | None
    error: str = ""


def compatible(amap: AttentionMap, entries: Sequence[ModelEntry]) -> list[ModelEntry]:
    """Return the models that take the features that a map was made from, but for those that made it.

    Parameters
    ----------
    amap : AttentionMap
        The map.
    entries : sequence of ModelEntry
        The models at hand.

    Returns
    -------
    list of ModelEntry
        In order.
    """
    return [
        entry
        for entry in entries
        if entry.card is not None
        and not entry.reason
        and check_fit(entry.card, amap.encoder) is None
        and entry.card != amap.model
    ]


def pooling_steps(amap: AttentionMap, entries: Sequence[ModelEntry], tell: Callable[[Outcome], None]) -> Steps[int]:
    """Run models on the features of a map, one after the other; for a thread.

    Parameters
    ----------
    amap : AttentionMap
        Whose features.
    entries : sequence of ModelEntry
        Models that take them.
    tell : callable
        Called with each outcome as soon as it is known, in this thread.

    Yields
    ------
    Progress
        By models done.

    Returns
    -------
    int
        How many gave a map.

    Raises
    ------
    FeaturesError
        If the features are not kept any more.
    """
    yield Progress("Comparing poolings", 0, len(entries))
    from ..features import read_features
    from ..kept_features import kept_features
    from ..maps import iter_attention_map
    from ..models import load_model

    path = kept_features(amap)
    if path is None:
        raise FeaturesError(
            "The features of this map are not kept here. Press Run once on this slide with the same encoder."
        )
    features, made = read_features(path), 0
    for done, entry in enumerate(entries):
        name = entry.card.title or entry.card.pooling if entry.card else entry.path.name
        at = Progress("Comparing poolings", done, len(entries), message=name)
        yield at
        try:
            steps = iter_attention_map(load_model(entry.path), features)
            while True:
                try:
                    next(steps)
                except StopIteration as end:
                    tell(Outcome(name, end.value))
                    made += 1
                    break
                yield at
        # PyTorch raises RuntimeError and MemoryError for a bag that a pooling cannot hold: the others go on
        except (NapariMilError, RuntimeError, MemoryError) as err:
            tell(Outcome(name, None, str(err).splitlines()[0] if str(err) else type(err).__name__))
    return made
