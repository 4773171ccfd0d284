"""The shipped checkpoints: a Gram-anchored fine-tune lowers the Gram distance and raises dense AUC on scenes that
nothing was trained on.
"""

import statistics

import pytest
import torch

from gramviz.checkpoints.manifest import CheckpointStore
from gramviz.data.samples import load
from gramviz.data.scenes import scene
from gramviz.gram.similarity import gram_matrix
from gramviz.metrics.evaluate import encode, patch_pictures, segment_measures
from gramviz.serving.jobs import make_job, start_of
from gramviz.serving.plans import presets
from gramviz.serving.settings import Settings
from gramviz.serving.tuning import TuneRequest
from gramviz.training.finetune import TUNED, Ended, Look, finetune
from gramviz.vit.backbones import backbone_of
from gramviz.vit.images import picture_from_array

CPU = torch.device("cpu")
HELD_OUT = range(91_000, 91_012)
GAIN = 0.03  # of AUC; three seeds of the preset gave more than .05


def held_out_auc(network, weights):
    made = [scene(seed, 256) for seed in HELD_OUT]
    pictures = patch_pictures([(picture_from_array(s.pixels), [s.labels]) for s in made], 16, 8)
    features = encode(backbone_of(network, weights), pictures, CPU)
    scores = [gram_matrix(one.patches) for one in features]
    return float(segment_measures(scores, pictures)["auc"].mean())


@pytest.mark.parametrize("seed", [0])
def test_the_repair_preset_repairs(seed):
    store = CheckpointStore.open(Settings().models)
    plan = next(preset.plan for preset in presets(store.all()) if preset.name == "repair")
    info = store.get(plan.start)
    start = start_of(plan, info, store.weights(plan.start), store.weights(plan.teacher), store)
    job = make_job(TuneRequest(load("astronaut"), plan, 14), start, 600.0)
    events = list(finetune(job, CPU))
    ended = events[-1]
    assert isinstance(ended, Ended)
    assert ended.reason == "done"
    distances = [event.gram_distance for event in events if isinstance(event, Look)]
    assert distances[-1] < distances[0] / 4
    before, after, teacher = (
        held_out_auc(info.network, weights)
        for weights in (start.weights, ended.weights[TUNED], start.teacher)
    )
    print(f"held-out AUC: start {before:.3f}, tuned {after:.3f}, teacher {teacher:.3f}")
    assert after > before + GAIN
    assert statistics.median([before, after, teacher]) > 0.5
