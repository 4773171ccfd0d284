"""Energy by frequency against scipy's transform, by hand, and by what must add up."""

import numpy as np
import pytest
import scipy.fft
import torch

from gramviz.errors import InputError
from gramviz.gram.modes import frequencies, frequency_energy, radial_profile, transform
from gramviz.gram.similarity import gram_matrix
from gramviz.gram.spectrum import rayleigh_along_ones


def features(rows, columns, width, seed=0, shift=0.3):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=(rows, columns, width)) + shift)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 7, 2), (5, 1, 4), (6, 9, 5)])
def test_the_transform_is_scipys(shape):
    values = features(*shape)
    expected = scipy.fft.dctn(values.numpy(), axes=(0, 1), norm="ortho")
    np.testing.assert_allclose(transform(values).numpy(), expected, atol=1e-12)


def test_energy_is_the_quadratic_form_of_each_basis_vector():
    h = features(4, 3, 6)
    gram = gram_matrix(h.flatten(0, 1)).numpy()
    energy = frequency_energy(h).numpy()
    for u in range(4):
        for v in range(3):
            one = np.zeros((4, 3))
            one[u, v] = 1
            mode = scipy.fft.idctn(one, norm="ortho").ravel()
            assert energy[u, v] == pytest.approx(mode @ gram @ mode, abs=1e-12)


def test_the_energies_add_up_to_the_trace_and_the_first_is_the_rayleigh_quotient_along_ones():
    h = features(7, 5, 8)
    energy = frequency_energy(h)
    assert float(energy.sum()) == pytest.approx(35)
    assert float(energy[0, 0]) == pytest.approx(float(rayleigh_along_ones(h.flatten(0, 1))))


def test_a_single_wave_sits_in_one_mode():
    x = (torch.arange(8, dtype=torch.float64) + 0.5) / 8
    wave = torch.cos(torch.pi * 3 * x)  # three half periods across
    field = wave.expand(6, 8)[..., None]
    found = transform(field).square()[..., 0]
    assert int(found.argmax()) == 3
    assert float(found.sum() - found[0, 3]) == pytest.approx(0, abs=1e-12)
    assert float(frequencies(6, 8)[0, 3]) == pytest.approx(3 / 16)


def test_the_profile_keeps_all_energy_and_the_constant_apart():
    energy = frequency_energy(features(9, 6, 4))
    edges, shares = radial_profile(energy, 7)
    assert edges.shape == (8,)
    assert shares.shape == (7,)
    assert float(shares.sum()) == pytest.approx(1)
    assert float(shares[0]) == pytest.approx(float(energy[0, 0] / energy.sum()))
    radius = frequencies(9, 6).numpy()
    for i in range(1, 7):
        inside = (radius > float(edges[i])) & (radius <= float(edges[i + 1]) + 1e-12)
        assert float(shares[i]) == pytest.approx(float(energy.numpy()[inside].sum() / energy.sum()))


@pytest.mark.parametrize("size", [12, 13, 23])
def test_what_lies_on_an_edge_belongs_to_the_bin_below(size):
    """Each mode of a line of 12 patches is the end of a bin of its own."""
    energy = torch.arange(1.0, size + 1)[None]
    edges, shares = radial_profile(energy, 12)
    steps = torch.ceil(torch.arange(size) * 11 / (size - 1) - 1e-6).long()
    expected = torch.zeros(12).index_add(0, steps, energy[0]) / energy.sum()
    np.testing.assert_allclose(shares.numpy(), expected.numpy(), atol=1e-6)
    assert float(edges[-1]) == (size - 1) / (2 * size)


def test_profiles_of_many_are_those_of_each():
    energies = torch.stack([frequency_energy(features(4, 5, 3, seed)) for seed in range(3)]).view(3, 1, 4, 5)
    edges, shares = radial_profile(energies, 5)
    for energy, share in zip(energies[:, 0], shares[:, 0], strict=True):
        alone_edges, alone = radial_profile(energy, 5)
        assert torch.equal(edges, alone_edges)
        torch.testing.assert_close(share, alone, atol=1e-15, rtol=0)


def test_nothing_gives_nothing():
    edges, shares = radial_profile(torch.zeros(3, 3))
    assert float(shares.sum()) == 0
    assert bool(edges.isfinite().all())
    one_edges, one_shares = radial_profile(torch.ones(1, 1))
    assert one_shares.tolist()[0] == 1
    assert len(one_edges) == 13


@pytest.mark.parametrize("shape", [(3, 4), (0, 3, 4), (2, 3, 4, 5)])
def test_what_is_no_grid_is_refused(shape):
    with pytest.raises(InputError, match="needs features"):
        frequency_energy(torch.ones(shape))


def test_a_profile_of_one_bin_is_refused():
    with pytest.raises(InputError, match="at least 2 bins"):
        radial_profile(torch.ones(3, 3), 1)
