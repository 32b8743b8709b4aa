"""What can go wrong through a user's files or choices, one class per subject.

Every message is one sentence that says what was found and one that says what to do about it, because the
command line prints it and napari shows it as a notification, both without a traceback. Arguments that only a
programmer can get wrong raise ``ValueError`` or ``TypeError`` instead.
"""

from __future__ import annotations


class NapariMilError(Exception):
    """Base of all errors that a user can cause and remedy."""


class SlideError(NapariMilError):
    """A slide cannot be opened or read."""


class TilingError(NapariMilError):
    """A slide cannot be cut into tiles: no scale, no tissue, or a tile larger than the slide."""


class EncoderError(NapariMilError):
    """An encoder cannot be found, loaded, or does not fit the tiles."""


class FeaturesError(NapariMilError):
    """A feature file cannot be read, written, or belongs to something else."""


class PatchSizeUnknownError(FeaturesError):
    """Neither a feature file nor one beside it says how large its patches are."""


class ScaleUnknownError(FeaturesError):
    """A feature file needs the slide's scale, which nobody has said."""


class OtherSlideError(FeaturesError):
    """A feature file was made from another slide than the one at hand, or at another scale.

    Parameters
    ----------
    found : str
        What was found.
    remedy : str
        What to do about it on the command line.
    """

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(f"{found} {remedy}")
        self.found = found


class ModelError(NapariMilError):
    """A MIL model or its checkpoint cannot be loaded, or does not fit the features."""


class CohortError(NapariMilError):
    """A cohort table is incomplete, contradictory, or leaks patients between splits."""


class MapError(NapariMilError):
    """An attention map cannot be read or written, or lacks what was asked of it."""


class AnnotationError(NapariMilError):
    """An annotation file cannot be read, or belongs to another slide."""


class WorkError(NapariMilError):
    """A file with the work on a slide cannot be read or written, or belongs to another slide."""


class SlideMovedError(WorkError):
    """The slide that a file of work names is not where it was, nor beside the file."""


class EvaluationError(NapariMilError):
    """Finished training runs or saved models cannot be read, compared or judged."""


class ExportError(NapariMilError):
    """Results cannot be written where they were asked for."""
