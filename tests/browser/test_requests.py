"""Choosing: pictures, checkpoints, resolutions; what comes of it for one visitor, and for two."""

import io
import threading

import numpy as np
import pytest
from PIL import Image

from gramviz.data.samples import load
from gramviz.vit.images import read_picture
from tests.browser.visitor import INFO, noise, png

pytestmark = pytest.mark.browser


def factors(visitor):
    return [url for url in visitor.requests if url.endswith("factor.bin")]


def test_what_is_loaded_already_is_not_fetched_again(visit):
    visitor = visit()
    assert len(factors(visitor)) == len(set(factors(visitor))) == 6
    visitor.page.get_by_role("checkbox", name="with Gram, step 6\u202f000").check()
    visitor.ready()
    assert len(factors(visitor)) == 7
    assert visitor.page.locator(".gv-tree .gv-map").count() == 7
    visitor.page.get_by_role("checkbox", name="with Gram, step 6\u202f000").uncheck()
    visitor.page.get_by_role("checkbox", name="trunk, step 1\u202f000").uncheck()
    visitor.ready()
    assert len(factors(visitor)) == 7
    assert visitor.page.locator(".gv-tree .gv-map").count() == 5
    assert visitor.text(".gv-count") == "5 of 8"


def test_progress_and_a_newer_request_takes_over(visit, engine):
    visitor = visit()
    asked, closed = len(engine.computed), engine.closed
    engine.pace = threading.Semaphore(2)
    try:
        visitor.page.locator('.gv-sample[data-id="rocket"]').click()
        status = visitor.explorer.locator(".gv-status-text")
        visitor.page.wait_for_function(
            "document.querySelector('.gv-status-text').textContent.includes('2 of 6 checkpoints')"
        )
        assert visitor.explorer.locator(".gv-progress").is_visible()
        visitor.page.locator('.gv-sample[data-id="coffee"]').click()
        visitor.page.wait_for_function(
            "document.querySelector('.gv-caption').textContent.startsWith('Cup of coffee')"
        )
        engine.pace.release(20)
        visitor.ready()
    finally:
        engine.pace.release(100)
        engine.pace = None
    assert "cosines within" in status.inner_text()
    assert visitor.text(".gv-caption").startswith("Cup of coffee")
    assert visitor.state["key"].startswith(load("coffee").digest)
    rocket = [entry for entry in engine.computed[asked:] if entry[0] == load("rocket").digest]
    assert len(rocket) <= 3  # two before the newer request, and the one then under way
    assert engine.closed == closed + 1


def test_two_visitors_do_not_meet(visit):
    first, second = visit(), visit()
    contents = png(noise(1)), png(noise(2))
    first.upload(contents[0])
    second.upload(contents[1])
    for visitor, content in ((first, contents[0]), (second, contents[1])):
        visitor.ready()
        assert visitor.state["key"] == f"{read_picture(content).digest}:28:-1"
    own = [{url for url in v.requests if "/files/" in url and "photograph" in url} for v in (first, second)]
    sample = own[0] & own[1]
    assert len(sample) == 1  # the picture that everybody starts with
    assert all(len(urls) == 2 for urls in own)
    sources = [v.photo.locator("img").get_attribute("src") for v in (first, second)]
    assert sources[0] != sources[1]
    second.page.reload()
    second.ready()
    assert second.text(".gv-caption").startswith("Chelsea the cat")


@pytest.mark.parametrize(
    "content",
    [
        b"this is no image",
        png(noise(4))[:600],
        png(np.zeros((4, 4, 3), dtype=np.uint8)),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\x89PNG\r\n\x1a\n",
    ],
    ids=["text", "truncated", "tiny", "svg", "header"],
)
def test_a_bad_file_gives_a_sentence_and_leaves_the_maps(visit, content):
    visitor = visit()
    key = visitor.state["key"]
    visitor.upload(content)
    sentence = visitor.error
    assert sentence.endswith(".")
    assert len(sentence) < 200
    assert not [mark for mark in ("/", "\\", "Traceback", "Error") if mark in sentence.replace(" / ", "")]
    assert visitor.state["key"] == key
    visitor.choose("patches", "20").ready()  # the picture before it is still the chosen one
    assert visitor.explorer.locator(".gv-error").is_hidden()
    assert visitor.state["key"] == key.replace(":28:", ":20:")


def test_a_file_that_is_too_large_is_not_sent(visit, tmp_path):
    visitor = visit()
    file = tmp_path / "large.png"
    with file.open("wb") as handle:
        handle.truncate(65 * 2**20)
    before = len(visitor.requests)
    visitor.page.set_input_files(".gv-file", file)
    visitor.page.wait_for_function("document.querySelector('.gv-message').textContent.includes('64 MB')")
    assert visitor.requests[before:] == []


def test_no_checkpoint_chosen_gives_a_sentence(visit):
    visitor = visit()
    for key in [key for key, info in INFO.items() if info.shown]:
        visitor.page.locator(f'.gv-chooser input[value="{key}"]').uncheck()
    assert visitor.error == "Please choose at least one checkpoint."


def test_a_note_on_the_picture_is_shown(visit):
    visitor = visit()
    frames = [Image.fromarray(noise(seed)) for seed in (5, 6, 7)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    visitor.upload(file.getvalue(), "animation.gif").ready()
    assert "first" in visitor.text(".gv-caption").lower()


TRANSFER = """(bytes) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([new Uint8Array(bytes)], 'picture.png', { type: 'image/png' }));
    return transfer;
}"""


@pytest.mark.parametrize("way", ["paste", "drop"])
def test_a_picture_can_be_pasted_or_dropped(visit, way):
    visitor = visit()
    content = png(noise(8))
    transfer = visitor.page.evaluate_handle(TRANSFER, list(content))
    event = {
        "paste": "new ClipboardEvent('paste', { clipboardData: transfer, bubbles: true })",
        "drop": "new DragEvent('drop', { dataTransfer: transfer, bubbles: true, cancelable: true })",
    }[way]
    transfer.evaluate(f"transfer => document.body.dispatchEvent({event})")
    visitor.page.wait_for_function("!document.querySelector('.gv-caption').textContent.includes('Chelsea')")
    visitor.ready()
    assert visitor.state["key"] == f"{read_picture(content).digest}:28:-1"


def test_a_picture_can_be_taken_with_the_camera(visit):
    visitor = visit()
    visitor.page.locator(".gv-camera").click()
    visitor.page.wait_for_function("document.querySelector('.gv-dialog video').videoWidth > 0")
    visitor.page.locator(".gv-shoot").click()
    visitor.page.wait_for_function("!document.querySelector('.gv-caption').textContent.includes('Chelsea')")
    visitor.ready()
    assert visitor.page.locator(".gv-chooser .gv-dialog").is_hidden()
    assert visitor.page.evaluate("document.querySelector('.gv-dialog video').srcObject") is None


NAMELESS = """() => {
    const controls = document.querySelectorAll('.gv :is(button, input, select, summary, [tabindex="0"])');
    const name = (node) => node.getAttribute('aria-label') || node.title || node.textContent
        || node.closest('label')?.textContent || node.querySelector('img')?.alt;
    return [...controls].filter((node) => !name(node)?.trim()).map((node) => node.outerHTML);
}"""


def test_by_keyboard_alone(visit):
    visitor = visit()
    assert visitor.page.evaluate(NAMELESS) == []
    focused = "() => { const n = document.activeElement; return n.dataset?.id || n.name || n.className; }"

    def tab_to(wanted):
        for _ in range(60):
            visitor.page.keyboard.press("Tab")
            if wanted in (visitor.page.evaluate(focused) or ""):
                return
        raise AssertionError(f"no way to {wanted} by Tab")

    tab_to("coffee")
    visitor.press("Enter")
    visitor.page.wait_for_function("document.querySelector('.gv-caption').textContent.startsWith('Cup')")
    visitor.ready()
    tab_to("patches")
    visitor.press("ArrowLeft")
    visitor.page.wait_for_function(
        "document.querySelector('.gv-status-text').textContent.includes('20 patches')"
    )
    visitor.ready()
    tab_to("gv-photo")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert visitor.page.evaluate(outline) == "solid"
    visitor.press("ArrowDown", "Enter", "ArrowRight")
    assert len(visitor.state["pins"]) == 1
    tab_to("gv-cls")
    visitor.press("Space")
    assert visitor.state["cls"] is True
    tab_to("view")
    visitor.press("ArrowRight")
    assert visitor.state["view"] == "difference"
    tab_to("overlay")
    visitor.press("Space")
    assert visitor.state["overlay"] == "on"
    visitor.press("Escape")
    assert visitor.state["cls"] is False
