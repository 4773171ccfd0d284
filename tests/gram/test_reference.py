"""The random reference against random features, numerical integration, and what must add up."""

import numpy as np
import pytest
import scipy.integrate

from gramviz.errors import InputError
from gramviz.gram.reference import marchenko_pastur


def random_eigenvalues(patches, width, draws=8):
    """Mean eigenvalues of G of random unit rows, descending, those that need not be 0."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(draws):
        x = rng.normal(size=(patches, width))
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        found.append(np.linalg.eigvalsh(x @ x.T)[::-1][: min(patches, width)])
    return np.mean(found, axis=0)


@pytest.mark.parametrize(("patches", "width"), [(300, 60), (60, 300), (200, 200), (256, 128)])
def test_random_features_have_these_eigenvalues(patches, width):
    np.testing.assert_allclose(
        marchenko_pastur(patches, width).numpy(), random_eigenvalues(patches, width), rtol=0.04, atol=0.04
    )


@pytest.mark.parametrize(("patches", "width"), [(40, 10), (10, 40), (7, 9), (100, 100), (1024, 128)])
def test_each_value_has_its_share_of_the_density_above_it(patches, width):
    ratio = np.sqrt(patches / width)
    low, high = (1 - ratio) ** 2, (1 + ratio) ** 2

    def density(x):
        return np.sqrt(max((high - x) * (x - low), 0)) / x

    found, n = marchenko_pastur(patches, width).numpy(), min(patches, width)
    whole = scipy.integrate.quad(density, low, high, limit=500)[0]
    for i in (0, n // 3, n - 1):
        above = scipy.integrate.quad(density, found[i], high, limit=500)[0] / whole
        assert above == pytest.approx((i + 0.5) / n, abs=2e-6)
    assert low <= found[-1] <= found[0] <= high
    assert (np.diff(found) < 0).all()


@pytest.mark.parametrize(("patches", "width"), [(1024, 128), (128, 1024), (512, 512)])
def test_the_values_add_up_to_about_the_trace(patches, width):
    assert float(marchenko_pastur(patches, width).sum()) == pytest.approx(patches, rel=1e-3)


def test_one_patch_and_one_column_are_defined():
    assert marchenko_pastur(1, 1).shape == (1,)
    assert bool(marchenko_pastur(1, 1).isfinite().all())
    assert marchenko_pastur(4096, 1).shape == marchenko_pastur(1, 4096).shape == (1,)
    assert float(marchenko_pastur(1, 4096)[0]) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("patches", "width"), [(0, 4), (4, 0), (-1, 4)])
def test_nothing_has_no_reference(patches, width):
    with pytest.raises(InputError, match="needs patches and a width"):
        marchenko_pastur(patches, width)
