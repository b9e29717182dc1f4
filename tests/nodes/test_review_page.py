"""The page on which pairs are reviewed, in a real browser, in front of a server that answers when it is told to."""

import json
import re
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tests.browsers import needs_chromium, wait_in_page
from tests.support.hosts import PACK_ROOT

HOST = "http://pairs.test"
TYPES = {".html": "text/html", ".mjs": "text/javascript", ".css": "text/css"}


def listing(name, count=2):
    shown = {
        "input": "a",
        "references": ["c"],
        "target": "b",
        "operation": "cover",
        "source": "s",
        "input_caption": "",
        "target_caption": "",
    }
    judged = {"state": "accepted", "by": "", "why": [], "scores": {}}
    pairs = [{"id": f"{name}{n}", "instruction": f"{name} {n}", **shown, **judged} for n in range(count)]
    return {"pairs": pairs, "counts": {"all": count, "accepted": count, "rejected": 0, "open": count}}


@needs_chromium
def test_a_page_that_comes_late_is_not_taken_for_the_choice_that_was_made_since(browser):
    page, late = browser.new_page(), []

    def answer(route):
        url = urlsplit(route.request.url)
        file = PACK_ROOT / "web" / url.path.lstrip("/")
        if file.is_file():
            return route.fulfill(body=file.read_bytes(), content_type=TYPES[file.suffix])
        if url.path != "/api/rethink/pairs/key":  # a picture
            return route.fulfill(status=404, body="{}")
        show = parse_qs(url.query)["show"][0]
        if show == "all" and not late:
            return late.append(route)  # not yet
        return route.fulfill(body=json.dumps(listing(show)), content_type="application/json")

    page.route(f"{HOST}/**", answer)
    page.goto(f"{HOST}/pairs/review.html?pairs=key")
    page.wait_for_function("document.getElementById('show').value === 'all'")
    page.select_option("#show", "rejected")
    page.wait_for_function("document.getElementById('instruction').textContent === 'rejected 0'")
    late[0].fulfill(body=json.dumps(listing("all")), content_type="application/json")
    wait_in_page(page, 200)
    assert page.locator("#instruction").inner_text() == "rejected 0"
    (shown,) = page.locator("#references img").all()
    assert "path=c" in shown.get_attribute("src") and shown.get_attribute("alt") == "image 2"
    assert [b.get_attribute("title") for b in page.locator("#strip button").all()] == ["rejected 0", "rejected 1"]
    page.close()


ELSEWHERE = (
    "//evil.test",
    "https://evil.test",
    "/\\evil.test",
    "../../..",
    "..",
    "/api/view?x=",
    "javascript:alert(1)",
)
MARKUP = """</script><script>window.ran = 1</script><img src=x onerror="window.ran = 1"> " onfocus="window.ran = 1" autofocus x=\""""


@pytest.fixture
def page(browser):
    page = browser.new_page()
    page.asked, page.problems = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    yield page
    page.close()


def serve(page, pairs, root=""):
    """Every host there is answers, so that whoever asks elsewhere gets an answer."""

    def answer(route):
        url = urlsplit(route.request.url)
        file = PACK_ROOT / "web" / url.path.removeprefix(f"{root}/extensions/rethink/").lstrip("/")
        if url.hostname == "pairs.test" and file.is_file():
            return route.fulfill(body=file.read_bytes(), content_type=TYPES[file.suffix])
        if url.path.endswith("/picture"):
            return route.fulfill(body=b"", content_type="image/webp")
        return route.fulfill(
            body=json.dumps(pairs), content_type="application/json", headers={"Access-Control-Allow-Origin": "*"}
        )

    page.route("**/*", answer)


@needs_chromium
@pytest.mark.parametrize("root", ["", "/behind/a/proxy"])
@pytest.mark.parametrize("name", ["api", "pairs"])
def test_its_address_cannot_have_it_ask_elsewhere(page, root, name):
    serve(page, listing("pair"), root)
    for elsewhere in ELSEWHERE if bool(root) == (name == "pairs") else ELSEWHERE[::4]:
        page.asked.clear()
        query = urlencode({"pairs": "key", "name": "n", name: elsewhere})
        page.goto(f"{HOST}{root}/extensions/rethink/pairs/review.html?{query}")
        page.wait_for_function("document.getElementById('instruction').textContent === 'pair 0'")
        rest = [url for url in map(urlsplit, page.asked) if "/extensions/" not in url.path]
        key = "key" if name == "api" else "unknown"
        assert rest and {url.hostname for url in rest} == {"pairs.test"}
        assert all(re.fullmatch(f"{root}/api/rethink/pairs/{key}(/picture)?", url.path) for url in rest), elsewhere


@needs_chromium
def test_nothing_that_pairs_say_runs(page):
    pairs = listing("pair")
    for pair in pairs["pairs"]:
        pair |= dict.fromkeys(
            ("id", "input", "target", "instruction", "operation", "input_caption", "target_caption"), MARKUP
        )
        pair |= {"why": [MARKUP], "by": "filter", "state": "rejected", "scores": {MARKUP: 1.0}}
    serve(page, pairs)
    page.goto(f"{HOST}/pairs/review.html?{urlencode({'pairs': 'key', 'name': MARKUP, 'theme': MARKUP})}")
    page.wait_for_function("document.getElementById('instruction').textContent.startsWith('</script>')")
    for key in ("?", "z", "Tab", "Tab", "Enter", "a"):
        page.keyboard.press(key)
    wait_in_page(page, 200)
    assert (
        page.evaluate("window.ran") is None and page.locator("[onfocus], [onerror]").count() == 0 and not page.problems
    )


@needs_chromium
def test_what_gets_into_it_all_the_same_does_not_run(page):
    serve(page, listing("pair"))
    page.goto(f"{HOST}/pairs/review.html?pairs=key")
    page.wait_for_function("document.getElementById('instruction').textContent === 'pair 0'")
    page.evaluate("""() => {
        document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="window.ran = 1"><b tabindex=0 autofocus onfocus="window.ran = 1">x</b>');
        document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}));
    }""")
    left = page.evaluate("fetch('https://evil.test/').then(() => 'got through', () => 'refused')")
    wait_in_page(page, 200)
    assert page.evaluate("window.ran") is None and left == "refused"


@needs_chromium
@pytest.mark.parametrize("real", [False, True])
def test_references_leave_input_and_target_as_large_as_each_other(page, real):
    pairs = listing("pair")
    for pair, count in zip(pairs["pairs"], (40, 1)):
        pair["references"] = [f"c{number}" for number in range(count)]
    serve(page, pairs)
    page.set_viewport_size({"width": 900, "height": 700})
    page.goto(f"{HOST}/pairs/review.html?pairs=key")
    page.wait_for_function("document.getElementById('instruction').textContent === 'pair 0'")
    if real:
        page.keyboard.press("z")
    input, target = (page.locator(f"#{side}").locator("..").bounding_box() for side in ("input", "target"))
    assert (input["y"], input["width"], input["height"]) == (target["y"], target["width"], target["height"])
    references = page.locator("#references").bounding_box()
    assert references["y"] >= input["y"] + input["height"] and references["width"] <= 900
    assert page.evaluate("document.documentElement.scrollWidth") == 900
    labels = page.locator("#references figcaption")
    assert labels.count() == 40 and labels.last.inner_text() == "image 41"
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.getElementById('instruction').textContent === 'pair 1'")
    assert labels.count() == 1
