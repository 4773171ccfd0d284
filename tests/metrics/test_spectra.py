"""Each number of the spectra against numpy float64 on the whole G, and what is said of degenerate features."""

import dataclasses
import itertools

import numpy as np
import pytest
import scipy.fft
import torch

from gramviz.errors import InputError
from gramviz.gram.modes import frequencies
from gramviz.gram.orders import cluster_patches
from gramviz.gram.reference import marchenko_pastur
from gramviz.metrics.geometry import geometry
from gramviz.metrics.spectra import CLUSTERS, MOST_VECTORS, spectra_of
from gramviz.vit.features import PatchFeatures


def made(patches, *, registers=4, lengths=None, cls_is_mean=False):
    """Features [h, w, d] as a network's, with registers and lengths before the norm."""
    rng = np.random.default_rng(9)
    width = patches.shape[-1]
    return PatchFeatures(
        patches=patches.float(),
        cls=torch.from_numpy(rng.normal(size=width) + 0.2).float(),
        registers=torch.from_numpy(rng.normal(size=(registers, width))).float(),
        source_size=(80, 60),
        patch_size=8,
        layer=1,
        norm=True,
        cls_is_mean=cls_is_mean,
        token_lengths=patches.float().norm(dim=-1) if lengths is None else lengths,
        register_lengths=torch.arange(1.0, registers + 1),
    )


def random(rows, columns, width, seed=0):
    return made(torch.from_numpy(np.random.default_rng(seed).normal(size=(rows, columns, width)) + 0.4))


def unit_rows(features):
    rows = features.patches.flatten(0, 1).numpy().astype(np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


SHAPES = [(9, 7, 12), (4, 5, 48), (6, 6, 36), (12, 13, 140)]


@pytest.mark.parametrize("shape", SHAPES)
def test_eigenvalues_and_vectors_are_those_of_the_whole_gram_matrix(shape):
    features = random(*shape)
    found, x = spectra_of(features), unit_rows(features)
    gram = x @ x.T
    n = min(shape[0] * shape[1], shape[2])
    values = np.linalg.eigvalsh(gram)[::-1][:n]
    np.testing.assert_allclose(found.eigenvalues.numpy(), values.clip(0), atol=1e-12 * values[0])
    vectors = found.vectors.double().numpy()
    assert vectors.shape == (len(x), min(n, MOST_VECTORS))
    residual = gram @ vectors - vectors * found.eigenvalues.numpy()[: vectors.shape[1]]
    assert np.abs(residual).max() < 2e-7 * values[0]  # float32 keeps as much
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(vectors.shape[1]), atol=1e-6)
    assert (vectors.sum(0) >= -1e-6).all()


@pytest.mark.parametrize("shape", SHAPES[:2])
def test_where_a_vector_lives_is_scipys_transform_of_it(shape):
    found = spectra_of(random(*shape))
    rows, columns, _ = shape
    radius = frequencies(rows, columns).numpy()
    edges = found.edges.numpy()
    for i, vector in enumerate(found.vectors.double().numpy().T):
        energy = scipy.fft.dctn(vector.reshape(rows, columns), norm="ortho") ** 2
        assert float(found.vector_frequency[i]) == pytest.approx((energy * radius).sum(), abs=1e-6)
        bins = [energy[0, 0]]
        bins += [
            energy[(radius > low) & (radius <= high + 1e-12)].sum()
            for low, high in itertools.pairwise(edges[1:])
        ]
        np.testing.assert_allclose(found.vector_profile[i].numpy(), bins, atol=1e-6)
    np.testing.assert_allclose(found.vector_profile.sum(1).numpy(), 1, atol=1e-12)


def test_energy_and_profile_are_those_of_the_whole_gram_matrix():
    features = random(5, 6, 8)
    found, x = spectra_of(features), unit_rows(features)
    modes = scipy.fft.dctn(x.reshape(5, 6, 8), axes=(0, 1), norm="ortho")
    np.testing.assert_allclose(found.energy.numpy(), (modes**2).sum(-1), atol=1e-12)
    assert float(found.energy.sum()) == pytest.approx(30)
    assert float(found.profile[0]) == pytest.approx(float(found.energy[0, 0]) / 30)
    assert float(found.profile.sum()) == pytest.approx(1)
    gram = x @ x.T
    spots = np.stack(np.divmod(np.arange(30), 6), 1)
    ring = np.hypot(*(spots[:, None] - spots[None]).transpose(2, 0, 1)).round()
    assert found.distance.tolist() == [1, 2, 3, 4, 5, 6]
    for distance, mean in zip(found.distance.tolist(), found.by_distance.tolist(), strict=True):
        assert mean == pytest.approx(gram[ring == distance].mean(), abs=1e-12)


def test_measures_registers_lengths_and_groups():
    lengths = torch.full((8, 9), 10.0) + torch.linspace(-1, 1, 72).view(8, 9)
    lengths[2, 3] = 50
    features = dataclasses.replace(random(8, 9, 16), token_lengths=lengths)
    found, x = spectra_of(features), unit_rows(features)
    expected = geometry(features.patches.flatten(0, 1).double(), features.cls.double())
    expected.pop("spectrum")
    assert found.measures == pytest.approx({name: float(value) for name, value in expected.items()})
    gram = x @ x.T
    assert found.measures["rayleigh"] == pytest.approx(gram.sum() / 72)
    assert found.measures["mean_similarity"] == pytest.approx(gram[~np.eye(72, dtype=bool)].mean())
    registers = features.registers.double().numpy()
    registers /= np.linalg.norm(registers, axis=1, keepdims=True)
    np.testing.assert_allclose(found.register_cosines.numpy(), registers @ x.T, atol=1e-6)
    assert found.register_lengths.tolist() == [1, 2, 3, 4]
    assert found.outliers.nonzero().tolist() == [[2 * 9 + 3]]
    assert torch.equal(found.lengths, lengths.flatten())
    groups = cluster_patches(features.patches.flatten(0, 1), CLUSTERS, 0)
    assert torch.equal(found.clusters, groups)
    order = found.cluster_order
    assert sorted(order.tolist()) == list(range(72))
    assert found.clusters[order].diff().min() >= 0
    assert all((order[found.clusters[order] == group].diff() > 0).all() for group in range(CLUSTERS))
    assert torch.equal(found.reference, marchenko_pastur(72, 16))
    assert (found.grid, found.width, found.notes) == ((8, 9), 16, ())


def test_its_bytes_are_those_of_its_tensors():
    found = spectra_of(random(8, 8, 16))
    tensors = [value for value in vars(found).values() if isinstance(value, torch.Tensor)]
    assert len(tensors) == 16
    assert found.nbytes == sum(t.numel() * t.element_size() for t in tensors)
    assert all(t.untyped_storage().nbytes() <= t.numel() * t.element_size() for t in tensors)


def all_finite(found):
    return all(bool(v.isfinite().all()) for v in vars(found).values() if isinstance(v, torch.Tensor)) and all(
        np.isfinite(value) for value in found.measures.values()
    )


def test_one_colour_gives_numbers_and_says_so():
    found = spectra_of(made(torch.ones(6, 7, 9)))
    assert all_finite(found)
    assert float(found.eigenvalues[0]) == pytest.approx(42)
    assert found.vectors.shape == (42, 1)
    np.testing.assert_allclose(found.vectors[:, 0].numpy(), 42**-0.5, rtol=1e-6)
    assert float(found.vector_frequency[0]) == pytest.approx(0, abs=1e-9)
    assert found.measures["effective_rank"] == pytest.approx(1)
    assert not found.outliers.any()
    assert found.clusters.tolist() == [0] * 42
    assert found.notes[0].startswith(
        "All patches point nearly the same way (mean cosine 1.0000), as on a picture of"
    )
    assert "there is 1" in found.notes[2]


def test_patches_without_a_direction_give_numbers_and_are_counted():
    none = spectra_of(made(torch.zeros(3, 4, 5)))
    assert all_finite(none)
    assert none.vectors.shape == (12, 0)
    assert none.notes[0].startswith("12 of 12 patches have length 0")
    patches = random(3, 4, 5).patches
    patches[1, 2] = 0
    some = spectra_of(made(patches))
    assert all_finite(some)
    assert float(some.eigenvalues.sum()) == pytest.approx(11)
    assert some.notes == ("1 of 12 patches has length 0 and so no direction: its cosines count as 0.",)


@pytest.mark.parametrize("shape", [(1, 2, 3), (1, 9, 5), (9, 1, 5), (2, 2, 1), (2, 2, 64)])
def test_small_grids_give_numbers_and_say_what_is_missing(shape):
    found = spectra_of(random(*shape))
    assert all_finite(found)
    assert found.vectors.shape[0] == shape[0] * shape[1]
    assert any("single line" in note for note in found.notes) == (1 in shape[:2])
    assert any("too few ways" in note for note in found.notes) == (
        shape[0] * shape[1] < CLUSTERS or shape[2] == 1
    )


def test_a_network_without_registers_or_cls():
    found = spectra_of(made(random(4, 4, 8).patches, registers=0, cls_is_mean=True))
    assert found.register_cosines.shape == (0, 16)
    assert found.register_lengths.shape == (0,)
    assert found.notes == ("This network has no CLS token: the mean patch stands in for it.",)


@pytest.mark.parametrize("field", ["patches", "cls", "registers", "token_lengths", "register_lengths"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_is_refused(field, value):
    features = random(3, 3, 4)
    getattr(features, field).view(-1)[1] = value
    with pytest.raises(InputError, match=r"^1 value of these features is not finite"):
        spectra_of(features)


def test_one_patch_has_no_spectrum():
    with pytest.raises(InputError, match="at least 2 patches, got 1 x 1"):
        spectra_of(random(1, 1, 4))
