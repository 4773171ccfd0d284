"""Heads and optimizer groups."""

import torch
import torch.nn.functional as F

from gramviz.training.config import HeadConfig
from gramviz.training.heads import ProjectionHead
from gramviz.training.state import new_state

HEAD = HeadConfig(hidden=12, bottleneck=8, prototypes=10)


def test_logits_are_cosines_to_the_prototypes():
    head = ProjectionHead(6, HEAD, batch_norm=False)
    features = torch.randn(20, 6)
    logits = head(features)
    hidden = head.mlp(features)
    for n in range(3):
        for k in range(10):
            assert torch.isclose(
                logits[n, k], F.cosine_similarity(hidden[n], head.prototypes[k], dim=0), atol=1e-5
            )
    with torch.no_grad():
        head.prototypes *= 7
    assert torch.allclose(head(features), logits, atol=1e-6)


def test_batch_norm_always_uses_its_batch():
    head = ProjectionHead(6, HEAD, batch_norm=True)
    features = torch.randn(20, 6)
    assert torch.equal(head.train()(features), head.eval()(features))
    assert not torch.allclose(head(features)[:5], head(features[:5]), atol=1e-4)


def test_weights_decay_but_vectors_do_not(config):
    state = new_state(config, torch.device("cpu"))
    decay = {id(p): g["weight_decay"] for g in state.optimizer.param_groups for p in g["params"]}
    for name, p in state.student.named_parameters():
        expected = config.optimizer.weight_decay if p.ndim > 1 else 0.0
        assert decay[id(p)] == expected, name
    assert len(decay) == len(list(state.student.parameters()))
