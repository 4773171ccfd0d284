import pytest

from gramviz.ui.files import Files


@pytest.fixture
def files(tmp_path):
    """The page's files, with an empty folder of uploads."""
    return Files(tmp_path, 2**26)
