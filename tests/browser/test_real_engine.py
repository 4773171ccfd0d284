"""The whole chain once with the real engine: file, network, low-rank factor, half floats, browser, screen."""

import numpy as np
import pytest

from gramviz.serving.engine import Engine
from gramviz.serving.settings import Settings
from gramviz.vit.images import read_picture
from tests.browser.visitor import Visitor, noise, png
from tests.stores import make_store
from tests.ui.live import serving

pytestmark = pytest.mark.browser


@pytest.fixture
def engine(tmp_path):
    engine = Engine(make_store(tmp_path / "models"), Settings(device="cpu", models=tmp_path / "models"))
    yield engine
    engine.close()


def test_values_on_the_screen_are_those_of_the_network(browser, engine, tmp_path):
    content = png(noise(11))
    picture = read_picture(content)
    with serving(engine, tmp_path / "served") as address:
        visitor = Visitor(browser.new_page(viewport={"width": 1440, "height": 900}), address).open()
        visitor.choose("patches", "20").ready()
        visitor.upload(content).ready()
        columns = visitor.state["grid"][1]
        visitor.click(5, 7)
        visitor.hover(2, 3)
        views = {view.checkpoint.id: view for view in engine.compare(picture, engine.default_ids(), 20)}
        for key, view in views.items():
            h = engine.features(picture, key, 20).patches.flatten(0, 1).double().numpy()
            x = h / np.linalg.norm(h, axis=1, keepdims=True)
            wanted = x @ x[5 * columns + 7]
            # the length of the query is off by at most error / 2, and so at most by that again the cosine
            assert np.abs(visitor.cosines(key) - wanted).max() <= 2 * view.error + 1e-6
        readings = [
            float(text.replace("\u2212", "-"))
            for text in visitor.page.locator(".gv-tree .gv-reading").all_inner_texts()
        ]
        assert len(readings) == len(views) == 4
        assert visitor.problems == []
        visitor.page.close()
