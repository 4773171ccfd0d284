from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.visitor import Visitor
from tests.ui.fake_engine import FakeEngine
from tests.ui.live import serving

SYSTEM_CHROMIUM = Path("/usr/bin/chromium")
CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    # no host but this machine has an address: whatever the page does, it does with the network cable out
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        path = SYSTEM_CHROMIUM if SYSTEM_CHROMIUM.exists() else None
        chromium = playwright.chromium.launch(executable_path=path, args=CHROMIUM_OPTIONS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture(scope="session")
def address(engine: FakeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(engine, tmp_path_factory.mktemp("served")) as url:
        yield url


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Callable[..., Visitor]]:
    """Make visitors, each in a browser context of their own, who open the page or a link to it.

    Afterwards nobody may have met an error or left home.
    """
    visitors: list[Visitor] = []

    def arrive(link: str = address, **options: Any) -> Visitor:
        options = {"viewport": {"width": 1440, "height": 900}, **options}
        context = browser.new_context(permissions=["camera"], **options)
        visitor = Visitor(context.new_page(), link)
        visitors.append(visitor)
        return visitor.open()

    yield arrive
    for visitor in visitors:
        visitor.page.context.close()
    home = ("data:", "blob:", address)
    assert [url for visitor in visitors for url in visitor.requests if not url.startswith(home)] == []
    assert [problem for visitor in visitors for problem in visitor.problems] == []
