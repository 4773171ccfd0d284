import pytest
import torch

from gramviz.serving.threads import SMALL, threads_for


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_small_work_is_done_by_one_thread_and_large_by_all(two_threads):
    with threads_for(SMALL):
        assert torch.get_num_threads() == 1
        with threads_for(SMALL):
            assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with threads_for(SMALL + 1):
        assert torch.get_num_threads() == 2


def test_the_number_comes_back_after_an_error(two_threads):
    with pytest.raises(ValueError, match="gone wrong"), threads_for(1):
        raise ValueError("gone wrong")
    assert torch.get_num_threads() == 2
