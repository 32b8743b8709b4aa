"""How many of what, in words: ``1 slide``, ``1,200 slides``."""

from __future__ import annotations

_HISSING = ("s", "x", "z", "sh", "tch", "nch")  # the ch of epoch hisses not


def counted(n: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun in the form that goes with it.

    Parameters
    ----------
    n : int
        How many.
    noun : str
        Of one of them; words may come before ("training slide").
    plural : str
        Of several, where it is not made by -s, -es or -ies ("file of outlines").

    Returns
    -------
    str
        With commas between thousands.
    """
    return f"{n:,} {noun if n == 1 else plural or _plural(noun)}"


def _plural(noun: str) -> str:
    if noun.endswith(_HISSING):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in tuple("aeiou"):
        return f"{noun[:-1]}ies"
    return f"{noun}s"


def agreed(n: int, one: str, several: str) -> str:
    """Return the word that goes with a number: ``agreed(n, "is", "are")``.

    Parameters
    ----------
    n : int
        How many.
    one, several : str
        The word for one, and for any other number.

    Returns
    -------
    str
        One of them.
    """
    return one if n == 1 else several
