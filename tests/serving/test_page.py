"""The page in a real browser: become a new user, find an item, rate it, see the list and why."""

import shutil

import pytest

from widedeep.serving.api import create_app
from widedeep.serving.service import RankingService
from widedeep.serving.telemetry import Telemetry
from widedeep.workspace import Workspace

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars")
FIRST = "#matches .item:first-child"


@pytest.fixture
def page(tmp_path, versions, serve, admit):
    """An English browser on the page; the test fails on any error in its console."""
    browser_path = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser_path is None:
        pytest.skip("no chromium is installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    service = RankingService(Workspace(tmp_path), Telemetry())
    admit(service, versions[0])
    errors = []
    with serve(create_app(service)) as client, playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=browser_path, args=FLAGS)
        page = browser.new_page(locale="en-US", viewport={"width": 390, "height": 844})
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: line.type == "error" and errors.append(line.text))
        page.set_default_timeout(15_000)
        page.goto(str(client.base_url))
        page.wait_for_selector(".pick")
        yield page
        browser.close()
    assert not errors


def titles(page):
    return page.locator(".pick .title").all_inner_texts()


def test_a_new_user_finds_an_item_rates_it_and_sees_why_others_are_listed(page):
    user = page.input_value("#user")
    page.click("#new-user")
    page.wait_for_function("before => document.querySelector('#user').value !== before", arg=user)
    before = titles(page)
    korean = page.locator(".pick .title .other").first.inner_text()
    page.fill("#search", korean)
    page.wait_for_selector(FIRST)
    title = page.locator(f"{FIRST} .title").inner_text()
    best = page.locator(f"{FIRST} .steps button").last
    best.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.wait_for_selector("#rated li")
    assert page.locator("#rated li .score").inner_text() == "9"
    assert page.locator(f"{FIRST} .my-rating").inner_text() == "You gave it 9"
    after = titles(page)
    assert after != before
    assert title not in after
    assert ": 9" in page.locator("#announcement").inner_text()
    page.locator(".pick .why summary").first.click()
    reason = page.locator(".pick .because").first
    assert "Expectation" in reason.inner_text()
    assert reason.locator("tr.sum").count() == 1
    page.click("[data-language=ko]")
    assert page.locator("#list-title").inner_text() == "당신을 위한 추천"
    assert page.evaluate("document.documentElement.lang") == "ko"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.reload()
    page.wait_for_selector("#rated li")
    assert page.locator("#list-title").inner_text() == "당신을 위한 추천"
