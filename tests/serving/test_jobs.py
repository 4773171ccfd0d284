"""Jobs: the right images and settings out of a plan, all of it picklable."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from gramviz.errors import InputError
from gramviz.serving.jobs import SCENES, Start, make_job, sample_pack, squares
from gramviz.serving.plans import Plan
from gramviz.serving.tuning import TuneRequest
from gramviz.vit.images import picture_from_array
from tests.stores import make_store

ID = "tiny-plain-2000"


def picture(height=60, width=80, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return picture_from_array(pixels)


@pytest.fixture
def start(tmp_path):
    store = make_store(tmp_path)
    return Start(store.get(ID), store.weights(ID), store.weights("tiny-trunk-300"), None, None)


def test_a_job_is_what_the_plan_says_and_survives_pickling(start):
    plan = Plan(
        start=ID, teacher="tiny-trunk-300", images="picture", steps=20, rate=1e-4, batch=4, seed=7, gram=2
    )
    job = make_job(TuneRequest(picture(), plan, 10), start, 30.0)
    again = pickle.loads(pickle.dumps(job))
    assert again.config == job.config
    config = job.config
    assert (config.steps, config.batch_size, config.seed, config.gram.weight) == (20, 4, 7, 2)
    assert config.optimizer.lr == config.optimizer.final_lr == 1e-4
    assert config.gram_alone
    assert config.views.global_size % 8 == 0
    assert job.seconds == 30
    assert tuple(job.watched.shape) == (3, 64, 80)
    assert torch.equal(again.images, job.images)


def test_squares_cover_an_oblong_picture_and_only_it():
    pixels = np.zeros((40, 120, 3), np.uint8)
    pixels[:, :40, 0] = pixels[:, 40:80, 1] = pixels[:, 80:, 2] = 255
    left, middle, right = squares(picture_from_array(pixels), 40)
    for channel, square in enumerate((left, middle, right)):
        assert square.shape == (3, 40, 40)
        assert square[channel].min() == 255
        assert square.float().mean() == pytest.approx(85)
    assert len(squares(picture(60, 62), 16)) == 1


def test_the_sample_pack_has_the_size_that_is_promised():
    pack = sample_pack(32)
    assert pack.dtype == torch.uint8
    assert 32 <= len(pack) <= 64
    assert len(pack) > SCENES
    assert len({image.numpy().tobytes() for image in pack}) == len(pack)


def test_own_images_are_needed_and_bounded(start):
    plan = Plan(start=ID, images="own")
    with pytest.raises(InputError, match="0 images of your own"):
        make_job(TuneRequest(picture(), plan, 10), start, 30.0)
    many = tuple(picture(seed=seed, height=20, width=20) for seed in range(65))
    with pytest.raises(InputError, match="65 images of your own"):
        make_job(TuneRequest(picture(), plan, 10, own=many), start, 30.0)
    assert len(make_job(TuneRequest(picture(), plan, 10, own=many[:3]), start, 30.0).images) == 3


def test_more_blocks_than_there_are_is_refused(start):
    plan = Plan(start=ID, trained="blocks", blocks=3)
    with pytest.raises(InputError, match="has 2 blocks"):
        make_job(TuneRequest(picture(), plan, 10), start, 30.0)
    job = make_job(TuneRequest(picture(), replace(plan, blocks=1, images="picture"), 10), start, 30.0)
    assert (job.trained.kind, job.trained.blocks) == ("blocks", 1)
