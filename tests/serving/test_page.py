"""The page in a real browser: become a new user, find an item, rate it, see the list and why."""

import re
import shutil

import pytest

from widedeep.decision_log import DecisionLog
from widedeep.serving.api import create_app
from widedeep.serving.schemas import ErrorType
from widedeep.serving.service import RankingService
from widedeep.serving.telemetry import Telemetry
from widedeep.workspace import Workspace

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars")
FIRST = "#matches .item:first-child"


@pytest.fixture(scope="module")
def browser():
    """A browser without a window."""
    browser_path = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser_path is None:
        pytest.skip("no chromium is installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=browser_path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def service(tmp_path, versions, admit):
    """A service of version 1, which was rolled back to."""
    log = DecisionLog(tmp_path / "decisions" / versions[0].model)
    log.record(decision("1", "promote", "better; it is fast; it is small", run_id="of the gate"))
    log.record(decision("2", "promote", "to see it", replaced_version="1"))
    log.record(decision("1", "rollback", "it was worse", replaced_version="2"))
    service = RankingService(Workspace(tmp_path), Telemetry())
    admit(service, versions[0])
    return service


def decision(version, action, reason, **more):
    base = {"version": version, "action": action, "reason": reason, "by": "me@here"}
    return base | {"champion_version": version, "replaced_version": None} | more


@pytest.fixture
def client(service, serve):
    with serve(create_app(service)) as client:
        yield client


@pytest.fixture
def page(browser, client):
    """The page on the screen of a phone, in English; the test fails on an error in its console."""
    errors = []
    page = open_page(browser)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: line.type == "error" and errors.append(line.text))
    show(page, client)
    yield page
    page.unroute_all(behavior="wait")
    page.context.close()
    assert not errors


def open_page(browser):
    page = browser.new_context(locale="en-US", viewport={"width": 390, "height": 844}).new_page()
    page.set_default_timeout(15_000)
    return page


def show(page, client, user=None):
    """Load the page, as a user who was there before if one is given."""
    if user is not None:
        page.add_init_script(f"localStorage.setItem('user', '{user}')")
    page.goto(str(client.base_url))
    page.wait_for_selector(".pick")


def rate(client, user, values):
    for item, value in enumerate(values, 10001):
        feedback = {"user": user, "item": item, "value": value, "time": 1_700_000_000 + item}
        assert client.post("/feedback", json=feedback).status_code == 201


def change_model(page, change):
    """Let the page see another answer of /model."""

    def answer(route):
        about = route.fetch().json()
        change(about)
        route.fulfill(json=about)

    page.route("**/model", answer)


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
    assert page.locator(f"{FIRST} .my-rating").inner_text() == "You gave it 9 of 10: in between"
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


def test_who_moved_the_champion_and_the_first_reason_are_said_and_the_others_folded(page):
    now = page.locator("#model-why").inner_text()
    assert "Rolled back by me@here" in now
    assert "it was worse" in now
    assert "better" not in now
    oldest = page.locator("#history li").last
    assert "better" in oldest.inner_text()
    assert "it is fast" not in oldest.inner_text()
    oldest.locator("summary").click()
    assert "it is fast" in oldest.inner_text()
    by_hand = page.locator("#history li", has_text="by hand")
    assert "to see it" in by_hand.inner_text()
    assert by_hand.count() == 1
    assert page.locator("#model-why details").count() == 0, "there is nothing to unfold"


@pytest.mark.parametrize(("count", "more"), [(0, None), (3, None), (5, 2)])
def test_more_ratings_are_offered_only_if_there_are_more(page, client, count, more):
    rate(client, 6_100_000, range(1, count + 1))
    show(page, client, 6_100_000)
    button = page.locator("#rated-more button")
    assert button.count() == (more is not None)
    if more is not None:
        assert re.findall(r"\d+", button.inner_text()) == [str(more)]
        button.click()
        assert page.locator("#rated li").count() == count
        assert button.count() == 0
    assert "-" not in page.locator("#rated-section").inner_text()


def test_ratings_are_liked_in_between_or_disliked_by_the_rule_of_the_data(page, client):
    rate(client, 6_200_000, [5, 6, 10])
    show(page, client, 6_200_000)
    rows = page.locator("#rated li").all()
    assert [row.get_attribute("class") for row in rows] == ["liked", "between", "disliked"]
    share = client.get("/model").json()["positive_share"]
    counts = page.locator("#what-counts").inner_text().replace("\u00a0", " ")
    assert "a 10" in counts
    assert f"{100 * share:.0f}%" in counts
    for place in ("#list-note", ".pick .percent small >> nth=0", ".pick .question >> nth=0"):
        assert "a\u00a010" in page.locator(place).text_content(), place


def test_a_rating_below_the_rule_is_remembered_as_less_and_not_as_a_dislike(page, client):
    rate(client, 6_200_001, [9] * 20)
    show(page, client, 6_200_001)
    reasons = " ".join(page.locator(".because th").all_text_contents())
    assert re.search(r"You gave .* less than 10", reasons)
    assert not re.search(r"\b(dis)?liked?\b", reasons)


@pytest.mark.parametrize(
    ("rule", "verb"),
    [("clicked = 1", "click"), ("action = buy", "b(uy|ought)"), ("converted = 1", "cho")],
)
def test_a_label_without_values_is_said_by_what_people_do(page, client, rule, verb):
    def without_values(about):
        about["data"] |= {"label": rule, "value": None, "label_from_value": False}

    rate(client, 6_300_000, [3, 10])
    change_model(page, without_values)
    show(page, client, 6_300_000)
    said = page.locator("#rated li .visually-hidden").all_text_contents()
    assert ["not" in text for text in said] == [False, True]
    assert all(re.search(verb, text) for text in said)
    assert page.locator("#rated .score").all_text_contents() == ["+", "\u2212"]
    visible = page.locator("#rated .standing").all_inner_texts()
    assert all(re.search(verb, text) for text in visible)
    assert len(visible) == 2
    assert page.locator(".pick >> nth=0").locator("button.choice").count() == 2
    list_texts = page.locator(".pick .sources, .pick .because").all_text_contents()
    assert not re.search(r"\bratings|\bliked|\b10\b", " ".join(list_texts))


def test_a_value_that_has_no_buttons_is_typed(page, client):
    def half_steps(about):
        about["data"]["value"] = {"minimum": 0.5, "maximum": 10, "integer": False}

    change_model(page, half_steps)
    show(page, client, 6_300_001)
    first = page.locator(".pick >> nth=0")
    title = first.locator(".title").inner_text()
    first.locator("input[type=number]").fill("7")
    first.locator("button.choice").click()
    page.wait_for_selector("#rated li")
    assert page.locator("#rated .score").inner_text() == "7"
    assert title not in titles(page)


def test_a_value_without_ends_is_not_said_to_be_disliked(page, client):
    def endless(about):
        about["data"]["value"] = {"minimum": 0, "maximum": None, "integer": True}

    rate(client, 6_300_002, [3, 10])
    change_model(page, endless)
    show(page, client, 6_300_002)
    rows = page.locator("#rated li")
    assert [row.get_attribute("class") for row in rows.all()] == ["liked", ""]
    assert "3" in rows.last.text_content()


@pytest.mark.parametrize(("values", "positive"), [([9, 9], "none"), ([10, 9, 10], "2")])
def test_a_fall_of_the_percentages_is_explained_by_what_was_said(page, client, values, positive):
    user = 6_310_000 + len(values)
    rate(client, user, values)
    show(page, client, user)
    note = page.locator("#list-note").inner_text()
    assert re.search(rf"\b{len(values)} ratings so far, {positive}\b", note)


def test_a_rule_below_the_best_value_counts_that_value_and_more(page, client):
    def from_seven(about):
        about["label"]["at_least"] = 7

    change_model(page, from_seven)
    show(page, client)
    assert "7 or more" in page.locator("#what-counts").inner_text()


@pytest.mark.parametrize("language", ["en", "ko"])
def test_reasons_are_in_words_of_the_language_and_have_one_scale(page, client, language):
    rate(client, 6_400_000, [10, 9, 3, 10, 10, 1, 8])
    show(page, client, 6_400_000)
    page.click(f"[data-language={language}]")
    phrases = page.locator(".because tbody th").all_text_contents()
    assert len(phrases) > 40
    for phrase in phrases:
        assert not re.search(r"\d\.\d|\d\u2013|…|_|below|from \d|\(", phrase), phrase
        assert language == "en" or not re.search(r"[a-z]{3}", phrase), phrase
    remembered = page.locator(".because h4 + table th").all_text_contents()
    sentences = [phrase for phrase in remembered if phrase.endswith(".")]
    rest = {"en": "everything else it remembers", "ko": "기억하는 나머지 모두"}
    assert set(remembered) - set(sentences) <= {rest[language]}
    counts = {"en": r"given (\d+) ratings", "ko": r"평점을 (\d+)개"}
    assert set(re.findall(counts[language], " ".join(sentences))) == {"7"}
    levels = {"en": "usual|others did", "ko": "보통|다른 사람들"}
    assert any(re.search(levels[language], sentence) for sentence in sentences)
    for row in page.locator(".because").all():
        amounts = row.locator("tr:not(.sum) .amount").all_text_contents()
        sizes = [abs(float(amount.replace("\u2212", "-"))) for amount in amounts]
        widths = [
            float(re.search(r"[\d.]+", bar.get_attribute("style"))[0])
            for bar in row.locator(".weight span").all()
        ]
        scale = max(widths) / max(sizes)
        for size, width in zip(sizes, widths, strict=True):
            assert width == pytest.approx(scale * size, abs=1.0)


def test_the_korean_page_folds_reasons_in_english_and_keeps_those_in_korean(
    page, client, service, versions, tmp_path
):
    log = DecisionLog(tmp_path / "decisions" / versions[0].model)
    log.record(decision("2", "hold", "한국어로 쓴 이유", champion_version="1"))
    service.refuse("3", "it is broken")
    show(page, client)
    page.click("[data-language=ko]")
    page.wait_for_selector("#model :text('한국어로')")
    shown = page.locator("#model").inner_text()
    assert not re.search(r"[a-z]{3}", re.sub(r"widedeep-sim-tiny|me@here", "", shown))
    page.locator("#model-refused summary").click()
    assert "it is broken" in page.locator("#model-refused").inner_text()


@pytest.mark.parametrize("kind", ["offline", *ErrorType])
def test_an_error_is_said_in_the_language_of_the_page_and_stays(browser, client, kind):
    def fail(route):
        if kind == "offline":
            route.abort()
        else:
            error = {"error": {"type": kind, "message": "an English message"}}
            route.fulfill(status=503, json=error)

    page = open_page(browser)
    show(page, client)
    page.click("[data-language=ko]")
    page.route("**/new-user", fail)
    page.click("#new-user")
    page.wait_for_selector("#error:not([hidden])")
    text = re.sub(r"widedeep (retrain|promote)", "", page.locator("#error").inner_text())
    assert re.search(r"[가-힣]", text)
    assert not re.search(r"[a-z]", text)
    with page.expect_response("**/health"):
        pass
    assert page.locator("#error").is_visible(), "the page still asks which model answers"
    page.unroute("**/new-user")
    page.click("#new-user")
    page.wait_for_selector("#error[hidden]", state="attached")
    page.context.close()


def test_korean_particles_follow_the_word_before_them(page, client):
    def called(about):
        about["data"]["item_korean"] = "상품"

    rate(client, 6_400_001, [10, 9, 3])
    for noun, particle in (("영화", "와"), ("상품", "과")):
        show(page, client, 6_400_001)
        page.click("[data-language=ko]")
        text = page.locator("body").text_content()
        assert f"이 {noun}{particle} 당신" in text
        assert not re.search(r"\((는|가|를|과)\)", text)
        change_model(page, called)


def test_features_without_a_korean_name_have_one_if_it_is_common(page, client):
    def unnamed(about):
        for feature in about["data"]["features"]:
            feature["korean"] = feature["name"]

    change_model(page, unnamed)
    show(page, client)
    page.click("[data-language=ko]")
    reasons = " ".join(page.locator(".because th").all_text_contents())
    assert "영화의 장르는" in reasons


def test_a_reason_that_cannot_be_said_plainly_is_left_out_and_counted_with_the_rest(page, client):
    def without_levels(about):
        about["levels"] = {}

    rate(client, 6_450_000, [10, 9, 3])
    show(page, client, 6_450_000)
    level = re.compile("usual|others did")
    phrases = page.locator(".because h4 + table th").all_text_contents()
    assert any(level.search(phrase) for phrase in phrases)
    change_model(page, without_levels)
    show(page, client, 6_450_000)
    phrases = page.locator(".because h4 + table th").all_text_contents()
    assert not [phrase for phrase in phrases if level.search(phrase)]
    assert all(phrase.strip() for phrase in phrases)
    for pick in page.locator(".because").all():
        tables = pick.locator("table").all()
        shown = [table.locator("tr:not(.sum) .amount").all_text_contents() for table in tables]
        (_, memory, _), parts = ([float(a.replace("\u2212", "-")) for a in s] for s in shown)
        assert sum(parts) == pytest.approx(memory, abs=0.06)


CONTEXT = [("day", "weekday"), ("hour", "hour"), ("part_of_year", "month")]


@pytest.mark.parametrize(
    ("block", "text", "english", "korean"),
    [
        ("day", "day Mon", "Monday", "월요일"),
        ("hour", "hour 13", "13:00", "13시"),
        ("part_of_year", "part_of_year 3", "March", "3월"),
        ("grade", "grade missing", "not known", "알려져 있지"),
        ("genres x grade", "genres Spy x Family x grade R", "Spy x Family,.* R", "Spy x Family"),
        ("liked x item", "liked (rare) → A → B", "rarely chosen film a.10", "드물게"),
        ("user_slow_bucket", "user_slow 0.142 … 0.21", None, None),
        ("user_count_bucket", "user_count below 1", "nothing yet", "아직"),
        ("item_short_mean_bucket", "item_short_mean missing", "Nothing", "아직"),
    ],
)
def test_a_feature_is_said_in_a_sentence_or_not_at_all(page, client, block, text, english, korean):
    def with_context(about):
        unnamed = {"korean": "", "english": "", "side": "context", "values": []}
        about["data"]["features"] += [unnamed | {"name": n, "type": kind} for n, kind in CONTEXT]

    def explained(route):
        answer = route.fetch().json()
        fired = {"block": block, "korean": text, "english": text, "weight": 1.0}
        answer["items"][0]["why"]["fired"] = [fired]
        answer["items"][0]["card"] |= {"korean": "A → B", "english": "A → B"}
        route.fulfill(json=answer)

    change_model(page, with_context)
    page.route("**/recommend/**", explained)
    show(page, client, 6_460_000)
    for language, expected in (("en", english), ("ko", korean)):
        page.click(f"[data-language={language}]")
        phrases = page.locator(".pick >> nth=0").locator(".because h4 + table th")
        said = phrases.all_text_contents()[:1]
        assert bool(said) == (expected is not None)
        assert all(re.search(expected, phrase.replace("\u00a0", " ")) for phrase in said)


def test_the_list_begins_on_the_first_screen_of_a_phone(page, client):
    rate(client, 6_500_000, [10] * 20)
    show(page, client, 6_500_000)
    first = page.locator(".pick .rate").first.bounding_box()
    assert first["y"] + first["height"] < 844
    order = "(a, b) => a.compareDocumentPosition(b) & Node.DOCUMENT_POSITION_FOLLOWING"
    ids = "document.getElementById('list'), document.getElementById('rated')"
    assert page.evaluate(f"({order})({ids})"), "what is read first is seen first"
    page.set_viewport_size({"width": 1200, "height": 844})
    page.wait_for_function(f"!(({order})({ids}))")


def test_the_page_says_that_the_champion_is_being_loaded(browser, tmp_path, serve, versions):
    log = DecisionLog(tmp_path / "decisions" / versions[0].model)
    log.record(decision("1", "promote", "better"))
    with serve(create_app(RankingService(Workspace(tmp_path), Telemetry()))) as client:
        page = open_page(browser)
        page.goto(str(client.base_url))
        page.wait_for_selector("#error:not([hidden])")
        assert "being loaded" in page.locator("#error").inner_text()
        assert "retrain" not in page.locator("#error").inner_text()
        for part in ("main", "#model"):
            assert page.locator(part).is_hidden(), "nothing is known yet"
        assert "did not work" not in page.locator("#error").inner_text()
        page.context.close()
