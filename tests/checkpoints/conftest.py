"""A small store of random networks on disk."""

import pytest

from tests.stores import make_store


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path)
