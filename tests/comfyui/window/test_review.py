"""The review page of a real ComfyUI, by keyboard.

Screenshots go to the folder that the environment variable RETHINK_SCREENSHOTS names, if it is set, to be looked at.
"""

import urllib.parse
import urllib.request

import pytest

from tests.browsers import needs_chromium, shoot, wait_in_page


@needs_chromium
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_pairs_are_reviewed_by_keyboard(server, browser, filtered, theme):
    key, _ = filtered
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    address = {"pairs": key, "api": "/api", "name": "my pairs", "theme": theme}
    page.goto(f"{server.address}/extensions/rethink/pairs/review.html?{urllib.parse.urlencode(address)}")
    page.wait_for_selector("#strip button")
    pairs = server.json(f"/rethink/pairs/{key}?count=3")["pairs"]
    assert page.inner_text("#instruction") == pairs[0]["instruction"]
    page.wait_for_function("document.querySelector('#target').naturalWidth === 128")
    shoot(page, f"review-{theme}")

    def state(index: int) -> tuple[str, str]:
        found = server.json(f"/rethink/pairs/{key}?count=3")["pairs"][index]
        return found["state"], found["by"]

    page.keyboard.press("r")
    page.wait_for_function(
        "text => document.querySelector('#instruction').textContent === text", arg=pairs[1]["instruction"]
    )
    page.keyboard.press("a")
    page.wait_for_function("document.querySelector('#counts').textContent.startsWith('2 of 40')")
    assert (state(0), state(1)) == (("rejected", "person"), ("accepted", "person"))
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("?")
    shoot(page, f"review-{theme}-judged")
    assert page.inner_text("#verdict") == "✕ Rejected by you" and page.is_visible("#keys")
    page.keyboard.press("Escape")
    page.keyboard.down("Space")
    assert page.inner_text("#side") == "Input" and page.get_attribute("#target", "src") == page.get_attribute(
        "#input", "src"
    )
    page.keyboard.up("Space")
    assert page.inner_text("#side") == "Target"
    page.keyboard.press("u")
    page.wait_for_function("document.querySelector('#counts').textContent.startsWith('1 of 40')")
    page.select_option("#show", "rejected")
    page.wait_for_function("document.querySelector('#verdict').className === 'rejected'")
    page.click("#strip button:nth-child(2)")
    shoot(page, f"review-{theme}-rejected")
    assert problems == []
    page.close()
    server.post(f"/rethink/pairs/{key}/verdict", {"id": pairs[1]["id"], "accepted": None})


@needs_chromium
def test_u_takes_back_the_verdict_that_was_just_given_and_shows_its_pair(server, browser, filtered):
    key, _ = filtered
    page = browser.new_page()
    page.goto(
        f"{server.address}/extensions/rethink/pairs/review.html?{urllib.parse.urlencode({'pairs': key, 'api': '/api'})}"
    )
    page.wait_for_selector("#strip button")
    assert page.is_disabled("#undo")
    texts = [pair["instruction"] for pair in server.json(f"/rethink/pairs/{key}?count=3")["pairs"]]

    def wait_for(index: int, judged: int) -> None:
        page.wait_for_function("text => document.querySelector('#instruction').textContent === text", arg=texts[index])
        page.wait_for_function(
            "n => document.querySelector('#counts').textContent.startsWith(`${n} of 40`)", arg=judged
        )

    def verdicts() -> list[str]:
        return [pair["by"] for pair in server.json(f"/rethink/pairs/{key}?count=3")["pairs"]]

    for index, verdict in enumerate("ra"):
        page.keyboard.press(verdict)
        wait_for(index + 1, index + 1)
    page.keyboard.press("u")  # on the third pair: what was said of the second was wrong
    wait_for(1, 1)
    assert (verdicts()[0] == "person", verdicts()[1] == "person") == (True, False)
    page.keyboard.press("r")
    wait_for(2, 2)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("u")  # who goes to a pair means that one
    wait_for(0, 1)
    assert (verdicts()[0] == "person", verdicts()[1] == "person") == (False, True)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("u")
    wait_for(1, 0)
    page.keyboard.press("u")
    wait_in_page(page, 200)
    assert "person" not in verdicts()
    page.close()


@needs_chromium
def test_a_key_pressed_twice_judges_no_pair_that_was_not_seen(server, browser, filtered):
    key, _ = filtered
    page = browser.new_page()
    verdicts = []

    def slowly(route):
        verdicts.append(route.request.post_data_json)
        page.wait_for_timeout(300)
        route.continue_()

    page.route("**/verdict", slowly)
    page.goto(
        f"{server.address}/extensions/rethink/pairs/review.html?{urllib.parse.urlencode({'pairs': key, 'api': '/api'})}"
    )
    page.wait_for_selector("#strip button")
    second = server.json(f"/rethink/pairs/{key}?count=2")["pairs"][1]["instruction"]
    page.keyboard.press("r")
    page.keyboard.press("r")
    page.wait_for_function("text => document.querySelector('#instruction').textContent === text", arg=second)
    wait_in_page(page, 400)
    assert len(verdicts) == 1 and page.inner_text("#instruction") == second
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("u")
    page.wait_for_function("document.querySelector('#counts').textContent.startsWith('0 of 40')")
    page.close()


@needs_chromium
def test_no_other_site_shows_the_review_page_within_its_own(server, browser):
    def headers_of(path: str):
        with urllib.request.urlopen(server.address + path) as reply:
            return reply.headers

    address = "/extensions/rethink/pairs/review.html"
    headers = headers_of(address)
    assert headers["X-Frame-Options"] == "DENY" and headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert headers_of("/extensions/rethink/pairs/review.mjs")["X-Frame-Options"] is None
    page = browser.new_page()
    page.set_content(f'<iframe src="{server.address}{address}?pairs=x"></iframe>')
    wait_in_page(page, 1000)
    (frame,) = page.frames[1:]
    assert not frame.url.startswith(server.address) or frame.evaluate("document.getElementById('accept')") is None
    page.close()
