"""What the front end may ask about comparisons: nothing but what a node has published."""

import io
import json
from urllib.parse import parse_qsl, urlsplit

import pytest
from PIL import Image

from tests.browsers import needs_chromium, shoot
from tests.support.comparisons import run, vote
from tests.support.hosts import PACK_ROOT

HOST = "http://comparisons.test"
TYPES = {".html": "text/html", ".mjs": "text/javascript", ".css": "text/css"}


@pytest.fixture
def asked(part):
    return part("nodes.comparisons_api")


@pytest.fixture
def report(tmp_path):
    return run(tmp_path / "folder")


def test_a_comparison_is_read_and_voted_on(asked, report, classes):
    key = asked.publish(report.page.parent)
    record = asked.read_comparison(key)
    assert [each["name"] for each in record["variants"]] == ["one", "two"] and record["side"] == asked.SIDE
    data = asked.read_image(key, record["edits"][0]["file"], "digest")
    assert Image.open(io.BytesIO(data)).size == (16, 16)
    one, two = (row.variant for row in report.rows)
    before = classes["RethinkCompareEditors"].fingerprint_inputs()
    assert asked.add_votes(key, [vote(report.tasks[0], one, two, "b")]) == {"written": 1}
    assert [line["winner"] for line in asked.list_votes(key)["votes"]] == ["b"]
    assert classes["RethinkCompareEditors"].fingerprint_inputs() != before, "what depends on it is made anew"


@pytest.mark.parametrize(
    "file", ["comparison.json", "../secret.png", "/etc/passwd", "votes.jsonl", "edits/gone.png", ""]
)
def test_no_other_file_is_read(asked, report, RethinkError, file):
    key = asked.publish(report.page.parent)
    with pytest.raises(RethinkError, match="no such image"):
        asked.read_image(key, file)


def test_a_record_that_names_another_file_is_not_believed(asked, report, RethinkError):
    folder = report.page.parent
    (folder.parent / "secret.png").write_bytes((folder / report.as_dict()["tasks"][0]["file"]).read_bytes())
    record = json.loads((folder / "comparison.json").read_text())
    record["tasks"][0]["file"] = "../secret.png"
    (folder / "comparison.json").write_text(json.dumps(record))
    with pytest.raises(RethinkError, match="no such image"):
        asked.read_image(asked.publish(folder), "../secret.png")


def test_what_was_not_published_is_not_served(asked, report, RethinkError):
    for call in (asked.read_comparison, asked.list_votes, lambda key: asked.add_votes(key, [])):
        with pytest.raises(RethinkError, match="no longer known"):
            call("0" * 16)
    with pytest.raises(RethinkError, match="not a vote"):
        asked.add_votes(asked.publish(report.page.parent), [{"id": "<b>"}])


@needs_chromium
def test_the_page_votes_into_the_folder(browser, asked, report):
    key = asked.publish(report.page.parent)
    page, problems = browser.new_page(), []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text))
    home = "/rethink/comparisons"

    def answer(route):
        url, request = urlsplit(route.request.url), route.request
        file = PACK_ROOT / "web" / url.path.removeprefix("/extensions/rethink/")
        query = dict(parse_qsl(url.query))
        if file.is_file():
            return route.fulfill(body=file.read_bytes(), content_type=TYPES[file.suffix])
        if url.path == f"/api{home}/{key}/image":
            return route.fulfill(body=asked.read_image(key, **query), content_type="image/webp")
        if url.path == f"/api{home}/{key}/votes":
            posted = request.method == "POST"
            reply = asked.add_votes(key, **request.post_data_json) if posted else asked.list_votes(key)
            return route.fulfill(json=reply)
        if url.path == f"/api{home}/{key}":
            return route.fulfill(json=asked.read_comparison(key))
        return route.fulfill(status=400, json={"error": "This comparison is no longer known."})

    page.route(f"{HOST}/**", answer)
    page.goto(f"{HOST}/extensions/rethink/compare/page.html?comparison={key}&theme=dark#vote")
    page.wait_for_selector(".cp-booth[data-asked]")
    with page.expect_response(lambda response: response.request.method == "POST"):
        page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('.cp-booth progress').value === 1")
    page.get_by_role("tab", name="Result").click()
    page.wait_for_function("document.querySelector('.cp-keeping').innerText.includes('written to the results folder')")
    shoot(page, "compare-served")
    assert [line["winner"] for line in asked.list_votes(key)["votes"]] == ["b"] and problems == []
    page.goto(f"{HOST}/extensions/rethink/compare/page.html?comparison=../../secret")
    page.wait_for_selector(".cp-failure")
    assert page.locator(".cp-failure").inner_text() == "This comparison is no longer known."
    page.close()
