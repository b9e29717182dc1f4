"""Pairs in a real ComfyUI: made, filtered, drawn from captions, looked through in the window and on the review page.

Screenshots go to the folder that the environment variable RETHINK_SCREENSHOTS names, if it is set, to be looked at.
"""

import urllib.error
import urllib.parse

import pytest

from tests.browsers import needs_chromium, shoot, wait_in_page
from tests.comfyui.native_graphs import error_of, run
from tests.support.comfyui_window import fit_view, reload_window
from tests.support.hosts import read_workflow
from tests.support.miniatures import QUICK


@pytest.fixture
def filtered(server):
    """(key of the filtered pairs, what Preview Pairs shows) of the shipped workflow."""
    found = run(server, read_workflow("filter_and_save_pairs"))
    return found["3"]["rethink_filter"][0]["key"], found["4"]["rethink_pairs"][0]


def test_pairs_are_made_previewed_and_cached(server):
    first = run(server, read_workflow("inverse_edit_pairs"))
    assert first["3"]["rethink_pairs"][0]["count"] == 12 and first["4"]["images"]
    entry = server.run(read_workflow("inverse_edit_pairs"))
    cached = next(data["nodes"] for name, data in entry["status"]["messages"] if name == "execution_cached")
    assert {"1", "2", "3"} <= set(cached)


def test_every_choice_of_an_operation_is_understood(server):
    described = server.json("/object_info/RethinkInverseEditSynthesizer")["RethinkInverseEditSynthesizer"]["input"]
    options = described["required"]["operation"][1]["options"]
    assert len(options) >= 18
    prompt = read_workflow("inverse_edit_pairs")
    for option in options:
        needs_place = option["key"] in ("remove_object", "text_erase", "flat_background", "editor")
        if needs_place:
            continue
        prompt["2"]["inputs"] |= {"operation": option["key"], "pairs": 1, "dataset": "operations"}
        inner = {name: spec[1]["default"] for name, spec in option["inputs"]["required"].items()}
        chosen = {**prompt["2"]["inputs"], **{f"operation.{name}": value for name, value in inner.items()}}
        run(server, {**prompt, "2": {**prompt["2"], "inputs": chosen}})


def test_an_editor_does_the_inverse_edit(server):
    prompt = read_workflow("inverse_edit_pairs")
    names = server.json("/object_info/RethinkLoadEditor")["RethinkLoadEditor"]["input"]["required"]["editor"][1][
        "options"
    ]
    loader = {"editor": next(name for name in names if "miniature" in name), "dtype": "auto", "offload": "none"}
    prompt["9"] = {"class_type": "RethinkLoadEditor", "inputs": loader}
    prompt["2"]["inputs"] |= {
        "operation": "editor",
        "operation.editor": ["9", 0],
        "operation.inverse": "remove the star",
        "pairs": 1,
        "dataset": "by-an-editor",
    }
    assert run(server, prompt)["3"]["rethink_pairs"][0]["count"] == 1


def test_prompt_to_prompt_draws_pairs(server):
    prompt = read_workflow("prompt_to_prompt_pairs")
    prompt["2"]["inputs"] |= QUICK | {"caption_fit": -1.0}
    assert run(server, prompt)["3"]["rethink_pairs"][0]["count"] == 2


def test_a_mistake_is_one_sentence_and_the_next_run_works(server):
    wrong = read_workflow("inverse_edit_pairs")
    wrong["2"]["inputs"]["dataset"] = "../../x"
    message = error_of(server.run(wrong))
    assert message.startswith("dataset: “../../x” is no name") and "Traceback" not in message
    run(server, read_workflow("inverse_edit_pairs"))


def test_the_routes_answer_for_published_pairs_alone(server, filtered):
    key, shown = filtered
    listed = server.json(f"/rethink/pairs/{key}?count=3")
    assert listed["counts"]["all"] == 40 and len(listed["pairs"]) == 3 and shown["count"] < 40
    pair = listed["pairs"][0]
    picture = server.get(f"/rethink/pairs/{key}/picture?" + urllib.parse.urlencode({"path": pair["input"], "side": 64}))
    assert picture[:4] == b"RIFF"
    for path in (
        f"/rethink/pairs/{key}/picture?path=../manifest.jsonl&side=64",
        "/rethink/pairs/unknown",
        f"/rethink/pairs/{key}?x=1",
    ):
        with pytest.raises(urllib.error.HTTPError) as refused:
            server.get(path)
        assert refused.value.code == 400
    assert server.post(f"/rethink/pairs/{key}/verdict", {"id": pair["id"], "accepted": True})[1]["by"] == "person"
    assert server.post(f"/rethink/pairs/{key}/verdict", {"id": pair["id"], "accepted": None})[1]["by"] != "person"
    assert server.post(f"/rethink/pairs/{key}/tried", {"changed": 1.0})[1]["rejected"] > 0


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
def test_the_sheet_and_the_plots_are_on_their_nodes(page):
    canvas = page.canvas_kind
    theme = {"classic": "dark", "nodes-2.0": "light"}[canvas]
    page.evaluate("theme => app.extensionManager.setting.set('Comfy.ColorPalette', theme)", theme)
    page.evaluate("graph => app.loadGraphData(graph)", read_workflow("filter_and_save_pairs", "workflows"))
    fit_view(page)
    page.evaluate("app.queuePrompt(0)")
    page.wait_for_selector(".rethink-card img", timeout=180_000)
    page.wait_for_selector(".rethink-plot", timeout=180_000)
    page.wait_for_function("[...document.querySelectorAll('.rethink-card img')].slice(0, 4).every(i => i.naturalWidth)")
    shoot(page, f"pairs-{canvas}-{theme}")

    scale = page.evaluate("app.canvas.ds.scale")
    cards = page.locator(".rethink-cards")
    box = cards.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.wheel(0, 200)
    page.wait_for_function("document.querySelector('.rethink-cards').scrollTop > 0")
    slider = page.locator(".rethink-plot input").first.bounding_box()
    page.mouse.move(slider["x"] + slider["width"] / 2, slider["y"] + slider["height"] / 2)
    page.mouse.wheel(0, 200)
    wait_in_page(page, 300)
    assert page.evaluate("app.canvas.ds.scale") == scale, "the wheel scrolls the sheet and leaves the canvas alone"

    kept = page.inner_text(".rethink-bar:has(.rethink-note) .rethink-summary")
    slider = page.locator(".rethink-plot:has-text('changed') input")
    slider.evaluate("input => { input.value = input.max; input.dispatchEvent(new Event('input')); }")
    page.wait_for_function(
        "kept => document.querySelector('.rethink-note').textContent && document.querySelector('.rethink-note')"
        ".parentElement.querySelector('.rethink-summary').textContent !== kept",
        arg=kept,
    )
    node = "app.graph.nodes.find(node => node.type === 'RethinkFilterEditPairs')"
    threshold = f"{node}.widgets.find(widget => widget.name === 'changed').value"
    assert page.evaluate(threshold) > 0.9
    shoot(page, f"pairs-{canvas}-{theme}-moved")

    sheet, below = page.evaluate(
        """() => ['RethinkPreviewPairs', 'MarkdownNote'].map(kind => {
            const {pos, size} = app.graph.nodes.find(node => node.type === kind);
            return [pos[1], pos[1] + size[1]];
        })"""
    )
    assert sheet[1] <= below[0], "the sheet grows over its neighbor"
    slider.press("ArrowLeft")  # the front end takes no state by itself from keys in an input field
    moved = page.evaluate(threshold)
    wait_in_page(page, 1500)  # it writes its drafts with a delay
    reload_window(page)
    page.wait_for_selector(".rethink-card img", timeout=180_000)
    page.wait_for_selector(".rethink-plot", timeout=180_000)
    page.wait_for_selector(".rethink-text:has-text('pairs in')", timeout=180_000)
    shoot(page, f"pairs-{canvas}-{theme}-reloaded")
    assert page.evaluate(threshold) == moved

    with page.expect_popup() as opened:
        page.click(".rethink-button")
    opened.value.wait_for_selector("#strip button")
    assert opened.value.evaluate("document.documentElement.dataset.theme") == theme
    opened.value.close()
