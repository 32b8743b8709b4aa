"""What the Train panel offers, and what each means in plain words."""

from __future__ import annotations

from collections.abc import Mapping

from ...models import MODEL_NAMES
from ...training import RECIPES
from .choice_box import Choice

POOLINGS: Mapping[str, tuple[str, str]] = {
    "gated-attention": (
        "Gated attention",
        "Learns how much each patch counts, with a gate that can close. A good first choice.",
    ),
    "attention": ("Attention", "Learns how much each patch counts, and takes the weighted average."),
    "mean": ("Mean", "Every patch counts the same: the plain yardstick that others must beat."),
    "max": ("Max", "The one most suspicious patch decides."),
    "lse": ("Smooth maximum", "Between mean and max: the more suspicious a patch, the more it counts."),
    "noisy-and": ("Noisy-and", "Positive once enough of the patches are; how many is learned."),
    "softmax-attention": ("Softmax attention", "One simple learned weight per patch."),
    "softmax-mean": ("Softmax mean", "The most suspicious patches weigh more; nothing else is learned for it."),
    "clam-sb": ("CLAM, one branch", "Attention that also learns to tell its highest patches from its lowest."),
    "clam-mb": ("CLAM, a branch per class", "As CLAM, with an attention of its own for each class."),
    "additive": ("Additive", "Each patch adds a share to the prediction, which can be read off exactly."),
    "dsmil": ("DSMIL", "Finds the most critical patch, and weighs the others by their likeness to it."),
    "transmil": ("TransMIL", "Patches look at each other and at their neighbours. Slow; wants many slides."),
    "dtfd": ("DTFD", "Splits each slide into several pseudo-slides: helps where slides are few."),
    "tda": ("Top-down attention", "Looks twice: the second look is guided by what the first found."),
}
"""Title and one line by name."""

_RECIPES: Mapping[str, tuple[str, str]] = {
    "default": ("Standard", "Small steps that become smaller; stops when validation no longer gets better."),
    "halving": ("Halving", "The step size is halved every ten epochs."),
    "warm-cosine": ("Gentle start", "Begins with tiny steps for five epochs; helps large models."),
    "abmil": ("As in ABMIL (2018)", "Few epochs, all of them run; the last is kept, whatever validation says."),
    "clam": ("As in CLAM (2021)", "Up to 200 epochs, at least 50; every class drawn equally often."),
    "dsmil": ("As in DSMIL (2021)", "Up to 50 epochs with a falling step size."),
    "transmil": ("As in TransMIL (2021)", "Up to 200 epochs with the optimiser of the original."),
    "dtfd": ("As in DTFD (2022)", "All 200 epochs are run; one of the last fifth is kept."),
    "tda": ("For top-down attention", "At most 2,048 patches of a slide at a time."),
}


def pooling_choices() -> list[Choice]:
    """Return every pooling, the usual first choice on top.

    Returns
    -------
    list of Choice
        The value is what `create_model` takes.
    """
    known = sorted(MODEL_NAMES, key=list(POOLINGS).index)
    return [Choice(POOLINGS[name][0], name, f"{POOLINGS[name][1]}\nIts name in commands: {name}") for name in known]


def recipe_choices() -> list[Choice]:
    """Return every recipe by name.

    Returns
    -------
    list of Choice
        The value is a key of `RECIPES`.
    """
    return [Choice(_RECIPES[name][0], name, f"{_RECIPES[name][1]}\nIts name in commands: {name}") for name in RECIPES]
