"""The page on which pairs are reviewed, in a real browser, in front of a server that answers when it is told to."""

import json
from urllib.parse import parse_qs, urlsplit

from tests.browsers import needs_chromium
from tests.hosts import PACK_ROOT

HOST = "http://pairs.test"
TYPES = {".html": "text/html", ".mjs": "text/javascript", ".css": "text/css"}


def listing(name, count=2):
    shown = {"input": "a", "target": "b", "operation": "cover", "source": "s", "input_caption": "", "target_caption": ""}
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
    page.wait_for_timeout(200)
    assert page.locator("#instruction").inner_text() == "rejected 0"
    assert [b.get_attribute("title") for b in page.locator("#strip button").all()] == ["rejected 0", "rejected 1"]
    page.close()
