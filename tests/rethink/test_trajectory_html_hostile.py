"""The page of a run of somebody else's: whatever its texts are, nothing of them runs or asks for anything."""

import json

import pytest

from rethink.trajectory import load_trajectory
from rethink.trajectory_html import page_name, write_html
from tests.browsers import needs_chromium, wait_in_page
from tests.support.run_pages import SELECTED, opened
from tests.support.runs import PROMPTS, made_up_run

MARKUP = (
    "</script><script>window.ran = 1</script>",
    "<!--<script>window.ran = 1",
    '" onfocus="window.ran = 1" autofocus tabindex="0" x="',
    '<img src=x onerror="window.ran = 1">',
    "<svg onload='window.ran = 1'></svg>",
    "javascript:window.ran=1//\u2028window.ran = 1;\u2029",
    "{{constructor.constructor('window.ran = 1')()}} ${window.ran = 1} `\\",
    "\ud83d half a character, \u202e turned text",
)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A page of a run in which every text is markup."""
    run = made_up_run(tmp_path_factory.mktemp("hostile") / 'run "><script>window.ran=1', turns=3)
    file = run.folder / "trajectory.json"
    all_of_it = " ".join(MARKUP)
    record = json.loads(file.read_text(encoding="utf-8"), object_hook=lambda found: spoiled(found, all_of_it))
    file.write_text(json.dumps(record | {"instruction": all_of_it, "message": all_of_it}), encoding="utf-8")
    path = run.folder.parent / page_name(run)
    write_html(load_trajectory(run.folder), path)
    return path


def spoiled(found, text):
    keep = {"file", "source", "status", "prompt_by", "stopped"}
    return {name: text if isinstance(value, str) and name not in keep else value for name, value in found.items()}


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    run = made_up_run(tmp_path_factory.mktemp("run") / "run")
    path = run.folder.with_suffix(".html")
    write_html(run, path)
    return path


@needs_chromium
def test_text_of_a_record_stays_text(browser, tmp_path):
    run = made_up_run(tmp_path / "run", turns=1)
    bad = "</script><script>document.title='run over'</script><img src=x onerror=\"document.title='run over'\">"
    path = run.folder / "trajectory.json"
    path.write_text(path.read_text(encoding="utf-8").replace(PROMPTS[0], json.dumps(bad)[1:-1]), encoding="utf-8")
    write_html(load_trajectory(run.folder), tmp_path / "run.html")
    page = opened(browser, tmp_path / "run.html")
    assert page.title() != "run over" and page.locator("h1").inner_text() == bad
    page.close()


@needs_chromium
def test_nothing_that_a_run_says_runs(browser, hostile):
    page = opened(browser, hostile)
    for key in ("ArrowRight", "d", " ", "Tab", "Tab", "Enter", "End", "Home"):
        page.keyboard.press(key)
    wait_in_page(page, 300)
    assert page.evaluate("window.ran") is None
    assert (
        page.locator("h1").inner_text().startswith("</script>")
        and page.locator("svg[onload], img[onerror], [onfocus]").count() == 0
    )
    assert all(url.startswith(("file:", "data:")) for url in page.asked)
    page.close()
    assert page.problems == []


@needs_chromium
@pytest.mark.parametrize(
    "foreign",
    [
        "<script>window.ran = 1</script>",
        '<b tabindex="0" autofocus onfocus="window.ran = 1">x</b>',
        '<img src="http://127.0.0.1:9/x.png" onerror="window.ran = 1">',
        "<iframe srcdoc='<script>parent.ran = 1</script>'></iframe>",
        '<base href="http://127.0.0.1:9/"><link rel="stylesheet" href="x.css">',
        "<script type='module' src='data:text/javascript,window.ran=1'></script>",
    ],
)
def test_what_gets_into_a_page_all_the_same_neither_runs_nor_asks(browser, html, tmp_path, foreign):
    page = browser.new_page()
    refused, asked = [], []
    page.on("console", lambda message: refused.append(message.text))
    page.on("requestfinished", lambda request: asked.append(request.url))
    (tmp_path / "page.html").write_text(
        html.read_text(encoding="utf-8").replace("<noscript>", f"{foreign}<noscript>"), encoding="utf-8"
    )
    page.goto((tmp_path / "page.html").as_uri())
    page.wait_for_selector(SELECTED)
    wait_in_page(page, 200)
    assert page.evaluate("window.ran") is None and any("Content Security Policy" in line for line in refused)
    assert not [url for url in asked if url.startswith("http")]
    page.close()
