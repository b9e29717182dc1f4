"""Nodes that measure, in ComfyUI's window: scores on their node, and from Compare Editors to a blind vote.

Screenshots go to the folder that the environment variable RETHINK_SCREENSHOTS names, if it is set, to be looked at.
"""

import pytest

from rethink.builtin import EDITOR_FOLDER, THINKER_FOLDER
from tests.browsers import needs_chromium, shoot
from tests.support.comfyui_runs import BUILD
from tests.support.comfyui_window import CANVASES, LONG, fit_view
from tests.support.comparisons import ASKED, press

NODES = {
    "scene": ["RethinkScene", [0, 0], {"count": 2, "level": "unusual"}],
    "editor": ["RethinkLoadEditor", [0, 260], {}],
    "thinker": ["RethinkLoadThinker", [0, 520], {"max_tokens": 256}],
    "edit": ["RethinkSampleEdit", [380, 0], {}],
    "score": ["RethinkScoreEdit", [820, 0], {"passes": 1}],
    "compare": ["RethinkCompareEditors", [1300, 0], {"turns": 2}],
}
LINKS = [
    ["scene", "image", "edit", "image"],
    ["scene", "instruction", "edit", "instruction"],
    ["editor", "editor", "edit", "editor"],
    ["scene", "image", "score", "source"],
    ["edit", "image", "score", "edited"],
    ["scene", "instruction", "score", "instruction"],
    ["thinker", "thinker", "score", "judge"],
    ["editor", "editor", "compare", "editor"],
    ["scene", "image", "compare", "image"],
    ["scene", "instruction", "compare", "instruction"],
    ["thinker", "thinker", "compare", "thinker"],
    ["thinker", "thinker", "compare", "judge"],
]


@needs_chromium
@pytest.mark.skipif(not (EDITOR_FOLDER.exists() and THINKER_FOLDER.exists()), reason="needs the built-in models")
def test_scores_stand_on_their_node_and_editors_are_compared_blind(server, browser, page):
    canvas = page.canvas_kind
    nodes = {name: list(node) for name, node in NODES.items()}
    nodes["scene"][2] = {**nodes["scene"][2], "seed": 40 + 2 * CANVASES.index(canvas)}
    nodes["compare"][2] = {**nodes["compare"][2], "name": f"window-{canvas}", "one_each": True}
    page.evaluate(BUILD, [nodes, LINKS])
    fit_view(page)
    page.evaluate("app.queuePrompt(0)")
    shown = (".rethink-button:has-text('Vote blind')", ".rethink-text:has-text('instruction following')")
    for selector in shown:
        page.wait_for_selector(selector, timeout=LONG, state="attached")
    fit_view(page)  # nodes have grown, and of those out of sight nothing is drawn
    for selector in shown:
        page.wait_for_selector(selector, timeout=LONG)
    shoot(page, f"evaluation-{canvas}")
    assert "+ thinking" in page.inner_text(".rethink-table"), "its columns stand below each other"
    assert page.locator(".rethink-bar [role=status]:has-text('best')").count() == 1

    address = page.locator(".rethink-button:has-text('Vote blind')").evaluate("link => link.href")
    booth = browser.new_page(viewport={"width": 1400, "height": 900})
    problems = []
    booth.on("pageerror", lambda error: problems.append(str(error)))
    booth.goto(address)
    booth.wait_for_selector(ASKED)
    shoot(booth, f"evaluation-{canvas}-vote")
    press(booth, "ArrowLeft")
    booth.get_by_role("tab", name="Result").click()
    booth.wait_for_selector(".cp-standings:has-text('1 vote by 1 voter')")
    shoot(booth, f"evaluation-{canvas}-result")
    key = address.partition("comparison=")[2].partition("&")[0]
    assert [vote["winner"] for vote in server.json(f"/rethink/comparisons/{key}/votes")["votes"]] == ["a"]
    assert problems == []
    booth.close()
