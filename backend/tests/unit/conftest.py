"""Fixtures of the tests that need no database."""

import numpy as np
import pytest
from unit.towns import town

from eventlink.recsys.dataset import Dataset


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)


@pytest.fixture(scope="session")
def loyal_town() -> Dataset:
    """A town where people go to the organizer they like, which can be learned."""
    return town(np.random.default_rng(1), loyalty=0.8)


@pytest.fixture(scope="session")
def random_town() -> Dataset:
    """A town where people go anywhere, which nothing can foresee."""
    return town(np.random.default_rng(2), loyalty=0.0)
