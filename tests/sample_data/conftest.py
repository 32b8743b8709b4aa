"""Small planned and painted slides, made once for the tests of the painter."""

from __future__ import annotations

import pytest

from sample_data.painter import paint_slide, plan_slide


@pytest.fixture(scope="session")
def lesion_plan():
    """Return the plan of a 600 x 750 um slide with tumour."""
    return plan_slide((1200, 1500), 0.5, 3, lesion=True)


@pytest.fixture(scope="session")
def normal_plan():
    """Return the plan of a 600 x 750 um slide without tumour."""
    return plan_slide((1200, 1500), 0.5, 3, lesion=False)


@pytest.fixture(scope="session")
def lesion_picture(lesion_plan):
    """Return the (1200, 1500, 3) picture of ``lesion_plan``."""
    return paint_slide(lesion_plan)
