"""Everything in gram/ gives on a CUDA device what it gives on the CPU."""

import pytest
import torch

from gramviz.gram import losses, projection, similarity, spectrum

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def both(function, *tensors):
    there = function(*(tensor.cuda() for tensor in tensors))
    return function(*tensors), there.cpu()


@pytest.mark.parametrize("shape", [(2, 50, 64), (2, 400, 64)])
def test_gram_loss_and_gradient(shape):
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(shape, generator=generator) for _ in range(2))
    torch.testing.assert_close(*both(losses.gram_loss, student, teacher), rtol=1e-5, atol=0)
    torch.testing.assert_close(*both(losses.gram_gradient, student, teacher), rtol=1e-3, atol=1e-4)
    turned = student @ torch.linalg.qr(torch.randn(64, 64, generator=generator)).Q
    assert float(both(losses.gram_loss, student, turned)[1]) < 1e-12


@pytest.mark.parametrize(
    "function",
    [
        similarity.gram_matrix,
        spectrum.eigenvalues,
        spectrum.mean_similarity,
        losses.koleo_loss,
        lambda features: losses.sinkhorn_knopp(features, 0.1),
        lambda features: similarity.gram_matrix(similarity.low_rank_factor(features).rows),
        lambda features: similarity.dequantize(similarity.quantize_int8(features)),
        lambda features: projection.pca_rgb(features, projection.pca_basis([features])),
    ],
)
def test_functions_of_features(function):
    features = torch.randn(60, 16, generator=torch.Generator().manual_seed(1)) + 0.5
    torch.testing.assert_close(*both(function, features), rtol=1e-3, atol=1e-3)
