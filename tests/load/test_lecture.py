"""A small lecture over real HTTP: nothing fails, and everybody gets what is theirs, by an independent computation."""

import io
import zipfile
from dataclasses import replace

import httpx
import numpy as np
import pytest
import torch
from PIL import Image

from gramviz.checkpoints.manifest import CheckpointStore
from gramviz.data.samples import load
from gramviz.serving.plans import presets
from gramviz.serving.settings import shipped_models
from gramviz.ui.tuner import plan_values
from gramviz.vit.features import extract
from gramviz.vit.images import read_picture
from tests.load.http import RefusedError, Visitor
from tests.load.lecture import Plan, attend, look, own_picture
from tests.serving.held import run_apart

STORE = CheckpointStore.open(shipped_models())
REPAIR = presets(STORE.all())[0].plan
IDS = (REPAIR.start, REPAIR.teacher)
PLAN = Plan(
    ids=IDS,
    viewers=40,
    uploaders=12,
    tuners=3,
    patches=14,
    within=2.0,
    tuning=plan_values(replace(REPAIR, steps=5)),
)


@pytest.fixture(scope="module")
def report(pages):
    return run_apart(attend(pages, PLAN))


@pytest.fixture(scope="module")
def network():
    return STORE.load(IDS[0], torch.device("cpu"))


def cosines_of(network, picture):
    """G of patches and CLS in float64, without anything of the service."""
    found = extract(network, picture, PLAN.patches)
    x = torch.cat([found.patches.flatten(0, 1), found.cls[None]]).double().numpy()
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x @ x.T


def sent_cosines(seen):
    view = seen.value["views"][IDS[0]]
    rows = np.frombuffer(seen.factor, "<f2").reshape(-1, view["rank"]).astype(np.float64)
    return rows @ rows.T, view["error"]


def test_everyone_sees_the_sample(report, network):
    wanted = cosines_of(network, load(PLAN.sample))
    assert len(report.viewers) == PLAN.viewers
    for seen in report.viewers:
        assert seen.factor == report.viewers[0].factor
    found, error = sent_cosines(report.viewers[0])
    assert np.abs(found - wanted).max() <= error + 1e-5


def test_nobody_sees_anothers_picture(report, network):
    assert len(report.uploaders) == PLAN.uploaders
    for seed, seen in enumerate(report.uploaders):
        picture = read_picture(own_picture(seed))
        assert seen.value["key"].startswith(picture.digest)
        shown = np.asarray(Image.open(io.BytesIO(seen.photograph)).convert("RGB"), float)
        assert np.abs(shown - picture.pixels).mean() < 8  # JPEG; between two seeds it is about 85
        found, error = sent_cosines(seen)
        assert np.abs(found - cosines_of(network, picture)).max() <= error + 1e-5


def test_fine_tunes_end_meanwhile_and_each_has_its_own(report):
    for values in report.tuners:
        assert all(value["error"] is None for value in values)
        finished = values[-1]["finished"]
        assert (finished["reason"], len(finished["made"])) == ("done", 1)
        assert [own["id"] for own in finished["own"]] == finished["made"]
    # of equal plans but for the seed: three different ends
    ends = {str(values[-1]["frame"]["rows"]) for values in report.tuners}
    assert len(ends) == PLAN.tuners


async def tuned_and_looked(pages):
    """One visitor fine-tunes and looks at the result; another asks for it by its name, then by their own."""
    async with Visitor(pages) as owner, Visitor(pages) as stranger:
        choice = owner.choice([REPAIR.start], sample=PLAN.sample, patches=PLAN.patches)
        values = [value async for value in owner.tune(choice, PLAN.tuning)]
        (own,) = values[-1]["finished"]["made"]
        mine = await look(owner, owner.choice([own, REPAIR.start], sample=PLAN.sample, patches=PLAN.patches))
        answer = await owner.ask("download", id=own)
        archive = await owner.fetch(answer["file"])
        refusals = []
        try:
            await look(stranger, stranger.choice([own], sample=PLAN.sample, patches=PLAN.patches))
        except RefusedError as error:
            refusals.append(error.args[1])
        answers = [await stranger.ask(action, id=own) for action in ("download", "forget")]
        answers += [await stranger.ask(action, number=1, index=0) for action in ("pause", "stop", "pin")]
        refusals += [answer["error"] for answer in answers]
        still = await owner.ask("forget", id=own)
        return own, mine, archive, refusals, still


def test_a_result_is_its_visitors_alone(pages, report):
    own, mine, archive, refusals, still = run_apart(tuned_and_looked(pages))
    assert set(mine.value["views"]) == {own, REPAIR.start}
    (start,) = {mine.value["views"][REPAIR.start]["factor"]["url"]}
    assert mine.value["views"][own]["factor"]["url"] != start
    with zipfile.ZipFile(io.BytesIO(archive)) as found:
        assert found.testzip() is None
        assert any(name.endswith(".safetensors") for name in found.namelist())
    assert len(refusals) == 6
    assert all(own in sentence or "has ended" in sentence for sentence in refusals)
    assert (still["error"], still["own"]) == (None, [])


def test_the_service_says_how_it_is_and_forgets_who_came(service, report):
    numbers = service.numbers()
    assert numbers["gramviz_jobs"] == numbers["gramviz_streams_running"] == 0
    assert numbers["gramviz_restarts"] == 0
    health = httpx.get(f"{service.address}healthz", timeout=30)
    assert (health.status_code, health.json()["status"]) == (200, "ok")
    assert service.errors() == []
    # names of visitors' files are nobody's business
    assert "own.png" not in service.log.read_text(encoding="utf-8")
