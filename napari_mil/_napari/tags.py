"""What people said of patches in this window, slide by slide."""

from __future__ import annotations

from psygnal import Signal

from ..maps import PatchTags


class TagBook:
    """Ticks and tags of every slide that was open in a window; whoever shows or saves them follows `changed`."""

    changed = Signal(str)
    """Quickhash of the slide whose patches something was said of."""

    def __init__(self) -> None:
        self._pages: dict[str, PatchTags] = {}

    def of(self, quickhash: str) -> PatchTags:
        """Return what was said of a slide's patches."""
        return self._pages.get(quickhash, PatchTags())

    def keep(self, quickhash: str, tags: PatchTags) -> None:
        """Put this in the place of what was said of a slide's patches.

        Parameters
        ----------
        quickhash : str
            Which slide.
        tags : PatchTags
            All that is to be known of it.
        """
        if tags != self.of(quickhash):
            self._pages[quickhash] = tags
            self.changed.emit(quickhash)
