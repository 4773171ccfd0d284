"""Models of one's own on the page: under their own names, beside the steps of a run, on every tab."""

import dataclasses
import json
import threading

import pytest
import safetensors.torch

from gramviz.checkpoints.zoo import ZOO
from gramviz.vit.backbones import NetworkConfig, create_backbone
from tests.browser.visitor import Visitor
from tests.checkpoints.stub_hub import SMALL
from tests.ui.fake_engine import CHECKPOINTS, FakeEngine, checkpoint
from tests.ui.live import serving

pytestmark = pytest.mark.browser


def small_network():
    """The files of a small network: (name, content)."""
    state = create_backbone(NetworkConfig("vit_tiny_patch16_224", SMALL)).network.state_dict()
    told = {"architecture": "vit_tiny_patch16_224", "model_args": SMALL}
    return ("mine.safetensors", safetensors.torch.save(state)), ("config.json", json.dumps(told).encode())


def given(*files):
    return [{"name": n, "mimeType": "application/octet-stream", "buffer": b} for n, b in files]


def test_a_model_is_added_from_a_file_and_forgotten(browser, tmp_path):
    with serving(FakeEngine(), tmp_path) as address:
        visitor = Visitor(browser.new_page(viewport={"width": 1440, "height": 900}), address).open()
        page = visitor.page
        page.get_by_role("button", name="add a model").click()
        dialog = page.get_by_role("dialog", name="Add a model")
        said = page.locator(".gv-adder-said")
        dialog.get_by_role("button", name="add it").click()
        assert "Choose a safetensors file" in said.inner_text()
        weights, config = small_network()
        page.set_input_files('.gv-own-file [name="files"]', given(weights))
        dialog.get_by_role("button", name="add it").click()
        page.wait_for_function(
            "document.querySelector('.gv-adder-said').textContent.includes('no config.json')"
        )
        page.set_input_files('.gv-own-file [name="files"]', given(weights, config))
        dialog.get_by_role("button", name="add it").click()
        page.wait_for_function(
            "document.querySelector('.gv-adder-said').textContent.includes('mine is added')"
        )
        dialog.get_by_role("button", name="close").click()
        visitor.ready()
        assert "mine" in page.locator(".gv-explorer .gv-tree .gv-heading").all_inner_texts()
        page.get_by_role("tab", name="Fine-tune").click()
        kept = page.locator(".gv-kept-list li")
        kept.wait_for()
        assert kept.get_by_role("button").all_inner_texts() == ["forget"]  # its owner has it
        page.get_by_role("tab", name="Explore").click()
        page.get_by_role("button", name="add a model").click()
        dialog.get_by_role("button", name="forget mine").click()
        page.wait_for_function("!document.querySelector('.gv-brought li')")
        dialog.get_by_role("button", name="close").click()
        visitor.ready()
        assert "mine" not in page.locator(".gv-explorer .gv-tree .gv-heading").all_inner_texts()
        assert [path for path in tmp_path.rglob("*.safetensors")] == []
        assert visitor.problems == []
        page.close()


def test_a_download_is_looked_up_shows_how_far_it_is_and_can_be_broken_off(browser, tmp_path):
    engine = FakeEngine()
    engine.steps = threading.Semaphore(0)
    with serving(engine, tmp_path) as address:
        visitor = Visitor(browser.new_page(viewport={"width": 1440, "height": 900}), address).open()
        page = visitor.page
        page.get_by_role("button", name="add a model").click()
        dialog = page.get_by_role("dialog", name="Add a model")
        page.locator('.gv-hub [name="listed"]').select_option(ZOO[3].name)
        assert "not Gram-trained" in page.locator(".gv-about-listed").inner_text()
        dialog.get_by_role("button", name="look it up").click()
        fetch = dialog.get_by_role("button", name="download 10 MiB")
        fetch.wait_for()
        assert f"timm/{ZOO[3].name}: 10 MiB, licence mit." in page.locator(".gv-offer").inner_text()
        fetch.click()
        page.wait_for_function("document.querySelector('.gv-adder-said').textContent === '1 MiB of 10 MiB'")
        assert page.locator(".gv-fetching").evaluate("bar => bar.value / bar.max") == pytest.approx(0.1)
        dialog.get_by_role("button", name="break off").click()
        assert "goes on where this one stood" in page.locator(".gv-adder-said").inner_text()
        engine.steps.release(20)
        fetch.click()
        page.wait_for_function(
            f"document.querySelector('.gv-brought')?.textContent.includes('{ZOO[3].name}')"
        )
        engine.refusal = "There is no way to the Hub."
        page.locator('.gv-hub [name="other"]').fill("hf-hub:me/mine")
        assert not fetch.is_visible()  # what was looked up was another
        dialog.get_by_role("button", name="look it up").click()
        page.wait_for_function(
            "document.querySelector('.gv-adder-said').textContent.includes('no way to the Hub')"
        )
        assert visitor.problems == []
        page.close()


NAME = "vit_small_patch14_dinov2.lvd142m"
MODEL = dataclasses.replace(
    checkpoint("plain", 0, NAME), id=NAME, branch="model", shown=True, title="DINOv2.", heads=None
)


def test_a_model_goes_by_its_name_on_every_tab(browser, tmp_path):
    shown = [info for info in CHECKPOINTS if info.step == 8000]
    with serving(FakeEngine([*shown, MODEL]), tmp_path) as address:
        visitor = Visitor(browser.new_page(viewport={"width": 1440, "height": 900}), address).open()
        assert visitor.page.locator(".gv-tree .gv-heading").all_inner_texts()[-1] == NAME
        assert visitor.page.locator(".gv-tree .gv-step").all_inner_texts()[-1] == ""
        assert visitor.page.get_by_role("checkbox", name=NAME, exact=True).is_checked()
        visitor.page.get_by_role("radio", name="difference").check(force=True)
        visitor.page.locator('.gv-explorer select[name="a"]').select_option(NAME)
        visitor.drawn()
        assert visitor.page.locator(".gv-pair .gv-heading").first.inner_text() == f"A: {NAME}"
        visitor.page.get_by_role("tab", name="Spectra").click()
        visitor.page.wait_for_function("document.querySelector('.gv-spectral')?.gramviz?.ready()")
        assert NAME in visitor.page.locator(".gv-spectral .gv-heading").all_inner_texts()
        visitor.page.get_by_role("tab", name="Theory lab").click()
        assert NAME in visitor.page.locator(".gv-lab-head option").all_inner_texts()
        visitor.page.get_by_role("tab", name="Training story").click()
        visitor.page.wait_for_function("document.querySelector('.gv-player')?.gramviz?.ready()")
        assert NAME not in visitor.page.locator(".gv-runs").inner_text()  # one network has no story
        assert visitor.problems == []
        visitor.page.close()
