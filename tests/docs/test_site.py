"""The documentation's site builds strictly, has no dead link, can be searched, and looks right in Chromium.

`COLBERT_QDRANT_SCREENSHOTS` names a folder that keeps the screenshots.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from playwright.sync_api import sync_playwright

from tests.docs.links import read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize

ROOT: Final = Path(__file__).parents[2]
CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NEEDS_CHROMIUM: Final = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install the package `chromium`")
PAGES: Final = sorted(str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md"))
LOOKS: Final[dict[str, tuple[Literal["light", "dark"], int]]] = {
    "light": ("light", 1280),
    "dark": ("dark", 1280),
    "narrow": ("light", 400),
    "narrow-dark": ("dark", 400),
}
"""Colour scheme, and width in pixels."""


def address(page: str) -> str:
    """Where the site has a page of `docs/`."""
    stem = page.removesuffix(".md")
    return "/" if stem == "index" else f"/{stem.removesuffix('/index')}/"


@pytest.fixture(scope="session")
def url(site: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")  # while it lives, its event loop keeps others from running in this thread
def browser() -> Iterator[Browser]:
    flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--disable-sync"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*flags, "--disable-background-networking"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def contexts(browser: Browser, url: str) -> dict[str, BrowserContext]:
    """A browser window of each look; pages of a window share its cache."""
    windows = {}
    for look, (scheme, width) in LOOKS.items():
        size: ViewportSize = {"width": width, "height": 900}
        windows[look] = browser.new_context(
            viewport=size, color_scheme=scheme, reduced_motion="reduce", base_url=url, service_workers="block"
        )
        windows[look].set_default_timeout(60_000)
    return windows


@pytest.fixture
def page(contexts: dict[str, BrowserContext], url: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A new tab, which may fetch from the site only."""
    tab = contexts[getattr(request, "param", "light")].new_page()
    elsewhere: list[str] = []
    tab.on("request", lambda sent: elsewhere.append(sent.url) if not sent.url.startswith((url, "data:")) else None)
    yield tab
    tab.close()
    assert elsewhere == []


def test_no_internal_link_is_dead(site: Path) -> None:
    pages = {f"/{path.relative_to(site).as_posix()}": read(path) for path in site.rglob("*.html")}
    dead = set()
    for place, links in pages.items():
        for link in links.links:
            target, fragment = urldefrag(urljoin(place, link))
            if urlsplit(target).scheme or place == "/404.html":
                continue
            file = unquote(target) + ("index.html" if target.endswith("/") else "")
            if file in pages:
                if fragment and unquote(fragment) not in pages[file].anchors:
                    dead.add(f"{place}: {link}")
            elif not (site / file[1:]).is_file():
                dead.add(f"{place}: {link}")
    assert not dead


def test_every_page_is_built(site: Path) -> None:
    assert all((site / address(page)[1:] / "index.html").is_file() for page in PAGES)


_EACH_LOOK: Final = """() => {
    const seen = new Map();
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const element = texts.currentNode.parentElement;
        const visible = element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
        if (!texts.currentNode.data.trim() || !visible) continue;
        const own = getComputedStyle(element);
        const look = [own.color, own.fontSize, own.fontWeight];
        for (let above = element; above; above = above.parentElement) {
            const { backgroundColor, backgroundImage, opacity } = getComputedStyle(above);
            const none = ["rgba(0, 0, 0, 0)", "none", "1"];
            look.push(...[backgroundColor, backgroundImage, opacity].filter((value) => !none.includes(value)));
        }
        const count = seen.get(look.join()) ?? 0;
        seen.set(look.join(), count + 1);
        if (count < 3) element.dataset.contrast = "";
    }
    return seen.size;
}"""
"""Marks three texts of each combination of colors and sizes: long pages have thousands of texts that look the same."""


@NEEDS_CHROMIUM
@pytest.mark.parametrize("page", ["light", "narrow-dark"], indirect=True)
@pytest.mark.parametrize("name", PAGES)
def test_page_fits_and_can_be_read(page: Page, name: str) -> None:
    page.goto(address(name))
    assert page.evaluate("document.scrollingElement.scrollWidth <= window.innerWidth")
    assert bad_contrasts(page) == []


@NEEDS_CHROMIUM
def test_a_bad_contrast_is_found(page: Page) -> None:
    page.goto("/faq/")
    page.evaluate("document.querySelector('article p:nth-of-type(2)').style.color = '#bbb'")
    assert len(bad_contrasts(page)) == 1


def bad_contrasts(page: Page) -> list[Any]:
    """The texts of a page whose contrast is less than 4.5 : 1, or 3 : 1 where they are large."""
    assert page.evaluate(_EACH_LOOK) > 5
    options = {"runOnly": ["color-contrast"], "resultTypes": ["violations"]}
    found = Axe().run(page, context={"include": [["[data-contrast]"]]}, options=options).response
    return [(node["target"], node["failureSummary"]) for rule in found["violations"] for node in rule["nodes"]]


@NEEDS_CHROMIUM
@pytest.mark.parametrize("page", LOOKS, indirect=True)
def test_screenshots(page: Page, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """The home page in both schemes and on a phone; the background follows the scheme."""
    kept = Path(os.environ.get("COLBERT_QDRANT_SCREENSHOTS", tmp_path))
    look = request.node.callspec.params["page"]
    page.goto("/")
    page.screenshot(path=kept / f"home-{look}.png", full_page=True)
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(part) for part in colour.removeprefix("rgb(").rstrip(")").split(",")[:3]) / 3
    assert (brightness < 128) == (LOOKS[look][0] == "dark")


@NEEDS_CHROMIUM
def test_search_finds_a_page(page: Page) -> None:
    """The dialog is closed to scripts: the first result is where Enter leads, once a worker has found it."""
    for patience in (200, 500, 1000, 2000, 5000, 10_000, 20_000):
        page.goto("/")
        with suppress(PlaywrightTimeout):
            page.wait_for_load_state("networkidle", timeout=patience)
            page.keyboard.press("Control+k")
            page.wait_for_function("document.activeElement !== document.body", timeout=patience)
            page.keyboard.type("concepts lemur")
            page.wait_for_timeout(patience)
            page.keyboard.press("Enter")
            page.wait_for_url("**/concepts/lemur/**", timeout=patience)
            return
    pytest.fail(f"Enter leads to {page.url}")
