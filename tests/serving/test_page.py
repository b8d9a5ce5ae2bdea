"""The page in a real browser: become somebody, find a item, rate it, see the list and why."""

import shutil

import pytest

from widedeep.serving.api import create_app
from widedeep.serving.service import RankingService
from widedeep.serving.telemetry import Telemetry
from widedeep.workspace import Workspace

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars")
FIRST = "#found .film:first-child"


@pytest.fixture
def page(tmp_path, versions, serve, admit):
    """An English browser on the page; the test fails on any error in its console."""
    browser_path = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser_path is None:
        pytest.skip("no chromium is installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    service = RankingService(Workspace(tmp_path), Telemetry())
    admit(service, versions[0])
    faults = []
    with serve(create_app(service)) as client, playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=browser_path, args=FLAGS)
        page = browser.new_page(locale="en-US", viewport={"width": 390, "height": 844})
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: said.type == "error" and faults.append(said.text))
        page.set_default_timeout(15_000)
        page.goto(str(client.base_url))
        page.wait_for_selector(".pick")
        yield page
        browser.close()
    assert not faults


def titles(page):
    return page.locator(".pick .title").all_inner_texts()


def test_a_newcomer_finds_rates_and_sees_why(page):
    user = page.input_value("#user")
    page.click("#newcomer")
    page.wait_for_function("was => document.querySelector('#user').value !== was", arg=user)
    before = titles(page)
    korean = page.locator(".pick .title .other").first.inner_text()
    page.fill("#search", korean)
    page.wait_for_selector(FIRST)
    item = page.locator(f"{FIRST} .title").inner_text()
    best = page.locator(f"{FIRST} .steps button").last
    best.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.wait_for_selector("#rated li")
    assert page.locator("#rated li .score").inner_text() == "9"
    assert page.locator(f"{FIRST} .given").inner_text() == "You gave it 9"
    after = titles(page)
    assert after != before
    assert item not in after
    assert "You gave" in page.locator("#said").inner_text()
    page.locator(".pick .why summary").first.click()
    told = page.locator(".pick .because").first
    assert "Expectation" in told.inner_text()
    assert told.locator("tr.sum").count() == 1
    page.click("[data-language=ko]")
    assert page.locator("#list-title").inner_text() == "당신을 위한 영화"
    assert page.evaluate("document.documentElement.lang") == "ko"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.reload()
    page.wait_for_selector("#rated li")
    assert page.locator("#list-title").inner_text() == "당신을 위한 영화"
