"""A comparison as one HTML file, and what somebody sees and does there, in a real browser."""

import base64
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from rethink.comparison.edits import LOG
from rethink.comparison.page import SIDES, encode_view, write_page
from rethink.comparison.server import VoteServer
from rethink.comparison.votes import current_votes, vote_log
from rethink.html_pages import web_folder
from rethink.images import save_image
from tests.browsers import needs_chromium, see, shoot
from tests.support.comparisons import ASKED, press, run, sources
from tests.support.waiting import LATE, wait_until


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Of edits whose times do not depend on the machine."""
    folder, names = tmp_path_factory.mktemp("page"), ("one", "two", "idle")
    run(folder, *names)
    edits = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    timed = [json.dumps({**edit, "seconds": number**2 / 7}) + "\n" for number, edit in enumerate(edits)]
    (folder / LOG).write_text("".join(timed))
    return run(folder, *names)


def record_in(text):
    return json.loads(re.search(r'id="comparison">(.*?)</script>', text, re.DOTALL)[1])


def test_all_of_it_is_inside(report):
    text = report.page.read_text(encoding="utf-8")
    images = dict(re.findall(r'<script type="text/plain" id="([\w./-]+)">data:image/png;base64,([\w+/=]+)<', text))
    assert len(images) == 2 + 4 * 3
    for name, data in images.items():
        assert base64.b64decode(data) == (report.page.parent / name).read_bytes(), "small ones are there bit for bit"
    assert record_in(text)["variants"][0]["name"] == "one"
    assert not re.search(r'(src|href|url\()\s*=?\s*["\']?(https?:)?//', text), "something would be fetched"
    names = r"^(?:export )?(?:async )?(?:class|function\*?|const|let) (\w+)"
    inside = re.findall(names, text, re.MULTILINE)
    assert len(inside) == len(set(inside)), "two modules use a name for different things"
    for module in web_folder("compare").glob("*.mjs"):
        if module.name not in ("served.mjs", "node_link.mjs"):  # ComfyUI's
            assert set(re.findall(names, module.read_text(encoding="utf-8"), re.MULTILINE)) <= set(inside), module.name


def test_large_images_take_their_share_and_no_more(tmp_path):
    (image,) = sources(1, 300)
    save_image(image, tmp_path / "noise.png")
    whole = (tmp_path / "noise.png").read_bytes()
    assert base64.b64decode(encode_view(tmp_path / "noise.png", 300, len(whole)).split(",")[1]) == whole
    kind, data = encode_view(tmp_path / "noise.png", SIDES[0], 100).split(",")
    assert kind == "data:image/webp;base64" and len(base64.b64decode(data)) < len(whole) / 4


@pytest.fixture
def opened(browser):
    opened = []

    def open_page(address, **options):
        page = browser.new_page(**{"viewport": {"width": 1400, "height": 900}, **options})
        page.problems = []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("console", lambda message: page.problems.append(message.text))
        page.requested = []
        page.on("request", lambda request: page.requested.append(request.url))
        page.goto(address, wait_until="commit")
        page.wait_for_selector(".cp-task")
        opened.append(page)
        return page

    yield open_page
    problems = [page.problems for page in opened if page.problems]
    for page in opened:
        page.close()
    assert problems == []


def shown_tasks(page):
    """(instruction, name of the source) of every task in the grid, from above."""
    return page.locator(".cp-task").evaluate_all(
        "all => all.map((task) => [task.getAttribute('aria-label'), task.querySelector('figcaption').textContent])"
    )


def votes_of(page):
    text = page.evaluate("Object.entries(localStorage).find(([name]) => name.startsWith('rethink-votes'))[1]")
    return [json.loads(line) for line in text.splitlines()]


@needs_chromium
def test_a_vote_by_keyboard_is_blind_and_goes_on_later(opened, report):
    page = opened(report.page.as_uri())
    page.get_by_role("tab", name="Vote blind").click()
    page.wait_for_selector(ASKED)
    shown = page.locator(".cp-booth").inner_text()
    assert not re.search(r"\b(one|two|idle)\b", shown), "no names"
    assert page.locator(".cp-side > img:first-child").evaluate_all(
        "async (all) => (await Promise.all(all.map((image) => image.decode())), all.every((image) => image.naturalWidth === 16))"
    )
    press(page, "ArrowLeft", "ArrowRight", "ArrowDown", "u")
    assert [line.get("winner") for line in votes_of(page)] == ["a", "b", "tie", None]
    assert page.locator(".cp-booth").get_by_role("status").inner_text() == "2 of 12 answered by you"
    page.keyboard.down(" ")
    assert page.locator(".cp-flipped .cp-overlay").first.is_visible()
    page.keyboard.up(" ")
    assert page.locator(".cp-flipped").count() == 0
    asked = page.locator(ASKED).get_attribute("data-asked")
    page.reload()
    page.get_by_role("tab", name="Vote blind").click()
    page.wait_for_selector(ASKED)
    assert page.locator(ASKED).get_attribute("data-asked") == asked, "it goes on where it was"
    page.get_by_role("tab", name="Result").click()
    assert "2 votes by 1 voter." in page.locator(".cp-standings").inner_text()
    assert page.locator(".cp-bar").count() == 3
    with page.expect_download() as download:
        page.get_by_role("button", name="Export votes").click()
    assert [json.loads(line) for line in download.value.path().read_text().splitlines()] == votes_of(page)
    page.locator("input[type=file]").set_input_files(download.value.path())
    page.wait_for_function("document.querySelector('.cp-keeping').innerText.includes('0 new lines')")
    page.evaluate("localStorage.clear()")


@needs_chromium
def test_two_browsers_vote_into_the_folder(opened, report):
    with VoteServer(report.page.parent).running() as address:
        both = [opened(address), opened(address)]
        both[1].evaluate("localStorage.removeItem('rethink-voter')")
        both[1].reload()
        for page in both:
            page.get_by_role("tab", name="Vote blind").click()
            page.wait_for_selector(ASKED)
            press(page, "ArrowLeft", "ArrowLeft")
        wait_until(lambda: len(current_votes(vote_log(report.page.parent))) == 4)  # else the result is of fewer
        both[0].get_by_role("tab", name="Result").click()
        both[0].wait_for_function("document.querySelector('.cp-standings').innerText.includes('4 votes by 2 voters.')")
        assert "written to the results folder" in both[0].locator(".cp-keeping").inner_text()


@needs_chromium
def test_only_what_is_in_sight_is_read(opened, tmp_path):
    run(tmp_path, count=12)
    with VoteServer(tmp_path).running() as address:
        page = opened(address, viewport={"width": 1400, "height": 300})
        in_sight = "[...document.querySelectorAll('.cp-task img')].filter((i) => i.getBoundingClientRect().top < 300)"
        page.wait_for_function(f"{in_sight}.every((image) => image.naturalWidth === 16)")
        assert len([url for url in page.requested if url.endswith(".png")]) <= 3 * 3, "of 24 tasks"
        page.requested.clear()
        page.get_by_role("tab", name="Vote blind").click()
        page.wait_for_selector(ASKED)
        assert 0 < len(page.requested) <= 4 * 3, "the question's, and those of the next three"


@needs_chromium
def test_the_page_is_used_while_the_rest_of_it_is_still_read(opened, report):
    whole = report.page.read_bytes()
    middle = whole.rindex(b'id="edits/') + 200  # in the midst of the last image
    rest = threading.Event()
    with slow_server(whole[:middle], rest, whole[middle:]) as address:
        page = opened(address)
        images = page.locator(".cp-task img")
        assert images.first.evaluate("async (image) => (await image.decode(), image.naturalWidth)") == 16
        images.last.scroll_into_view_if_needed()
        page.wait_for_function("document.querySelectorAll('.cp-task img:not([src])').length === 1")  # not there yet
        rest.set()
        page.wait_for_function("[...document.querySelectorAll('.cp-task img')].at(-1).naturalWidth === 16")


@contextmanager
def slow_server(first, go_on, second):
    """Sends a page in two parts; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            if self.path != "/":
                self.wfile.write(b'{"votes": []}')
                return
            self.wfile.write(first)
            go_on.wait(LATE)
            self.wfile.write(second)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        go_on.set()
        server.shutdown()


@needs_chromium
def test_the_grid_is_filtered_sorted_and_looked_at_in_large(opened, report):
    page = opened(report.page.as_uri())
    page.get_by_label("Filter by instruction").fill("red")
    assert page.locator(".cp-task").count() == 2
    page.get_by_label("Show", exact=True).first.select_option("unchanged")
    assert page.locator(".cp-mark").all_text_contents() == ["nothing changed"] * 2
    page.get_by_label("Show", exact=True).first.select_option("missing")
    assert page.locator(".cp-task").count() == 0
    page.get_by_label("Show", exact=True).first.select_option("")
    page.get_by_label("Filter by instruction").fill("")
    page.get_by_label("Sort by").first.select_option("seconds")
    slower = [[task.instruction, task.name] for task in report.tasks]  # from edit to edit, and later tasks the most
    assert shown_tasks(page) == slower[::-1]
    page.get_by_label("largest first").uncheck()
    assert shown_tasks(page) == slower
    page.get_by_role("button", name="Enlarge two").first.click()
    title = page.locator(".cp-zoom-title")
    assert title.inner_text().startswith("two: ")
    for key, start in (("ArrowRight", "idle: "), ("ArrowRight", "one: "), ("ArrowRight", "two: ")):
        page.keyboard.press(key)
        assert title.inner_text().startswith(start)
    result = page.locator(".cp-zoom .rt-image[alt]").nth(1)
    before = result.get_attribute("src")
    page.keyboard.press("ArrowDown")
    assert result.get_attribute("src") != before and title.inner_text().startswith("two: ")
    page.keyboard.press("d")
    assert page.locator(".cp-zoom .rt-stage").get_attribute("data-mode") == "difference"
    page.keyboard.press("Escape")
    assert not page.locator(".cp-zoom").is_visible()


@needs_chromium
@pytest.mark.parametrize(("theme", "dark"), [("light", False), ("dark", True)])
def test_it_fits_a_phone_and_follows_the_theme(opened, report, theme, dark):
    page = opened(report.page.as_uri(), color_scheme=theme, viewport={"width": 390, "height": 844})
    assert (np.asarray(see(page, f"compare-grid-{theme}").convert("L")).mean() < 120) == dark
    for tab in ("Vote blind", "Result", "Grid"):
        page.get_by_role("tab", name=tab).click()
        shoot(page, f"compare-{tab.split()[0].lower()}-phone-{theme}")
        root = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(root) == 0, f"{tab} is wider than the phone"
        said = page.get_by_text("A missing interval means that there are too few sources.").is_visible()
        assert said == (tab == "Result"), "once, not in every cell"


@needs_chromium
def test_text_of_a_comparison_stays_text(opened, report, tmp_path):
    bad = "</script><script>document.title='run over'</script><img src=x onerror=\"document.title='run over'\">"
    changed = replace(report, title=bad, tasks=tuple(replace(task, instruction=bad, name=bad) for task in report.tasks))
    record = changed.as_dict()
    record["edits"][0]["size"] = [20, 10]
    for variant in record["variants"]:
        variant["name"] = bad
    for name in ("sources", "edits"):
        (tmp_path / name).symlink_to(report.page.parent / name)
    page = opened(write_page(tmp_path, record).as_uri())
    for tab in ("Vote blind", "Result", "Grid"):
        page.get_by_role("tab", name=tab).click()
    assert page.title() != "run over" and page.locator(".cp-instruction").first.text_content() == bad
    assert page.locator(".cp-mark").first.text_content() == "20 × 10, source 16 × 16: shown fitted"
