"""Whose a run is: the tab and the graph that it was queued from, also where another page goes on with it."""

import re

import pytest

from tests.browsers import needs_chromium, shoot, wait_in_page
from tests.support.comfyui_runs import PICTURES_ARE_THERE, THINK, build, ended, turn
from tests.support.comfyui_window import CANVASES, LONG, execute_command, reload_window

pytestmark = needs_chromium

SOON = 500  # milliseconds, in which a run would be seen where it must not be


OPEN = "workflow => app.loadGraphData(workflow, true, true, 'mine')"


def test_a_run_belongs_to_the_tab_and_the_graph_it_was_queued_from(server, page, other_page, thinker):
    links = [["thinker", "thinker", "edit", "thinker"], ["edit", "trajectory", "viewer", "trajectory"]]
    kind, pos, values = THINK["edit"]
    build(page, thinker, {**THINK, "edit": [kind, pos, {**values, "turns": 3, "seed": 21}]}, links)
    workflow = page.evaluate("app.rootGraph.serialize()")  # which keeps its id, as files do
    page.evaluate("app.queuePrompt(0)")
    page.get_by_label("The next prompt").first.wait_for(timeout=LONG)
    other_page.evaluate(OPEN, workflow)
    for count in (2, 3):  # over the tab itself, and over another one of the same file
        page.evaluate(OPEN, workflow)
        page.wait_for_function(f"app.extensionManager.workflow.openWorkflows.length > {count}")
        wait_in_page(page, SOON)
        assert turn(page, 1).count() == 0 and page.locator(".rt-steering:visible").count() == 0, count
    assert turn(other_page, 1).count() == 0 and other_page.locator(".rt-steering:visible").count() == 0
    shoot(page, f"viewer-fresh-{page.canvas_kind}")

    for _ in range(2):
        execute_command(page, "Workspace.PreviousOpenedWorkflow")
    turn(page, 1).nth(1).wait_for(timeout=LONG)
    assert turn(page, 1).count() == 2 and page.evaluate("app.rootGraph.id") == workflow["id"]
    page.get_by_role("button", name="Go on").first.click()
    turn(page, 2).first.wait_for(timeout=LONG)
    execute_command(page, "Workspace.NextOpenedWorkflow")
    wait_in_page(page, SOON)
    assert turn(page, 1).count() == 0
    orders = {"run": server.json("/rethink/running")[0]["run"]["subfolder"], "action": "stop"}
    assert server.post("/rethink/order", orders)[0] == 200
    ended(server)
    wait_in_page(page, SOON)
    assert turn(page, 1).count() == 0 == turn(other_page, 1).count(), (
        "the node of the same id in another graph learns nothing"
    )

    execute_command(page, "Workspace.PreviousOpenedWorkflow")
    page.get_by_text("Stopped by you").first.wait_for(timeout=LONG)
    wait_in_page(page, 1000)  # ComfyUI keeps its tabs in mind with a delay
    reload_window(page)
    turn(page, 2).first.wait_for(timeout=LONG)
    page.evaluate(OPEN, workflow)
    wait_in_page(page, SOON)
    assert turn(page, 1).count() == 0


@pytest.mark.parametrize("window", CANVASES[:1], indirect=True)
def test_a_run_is_steered_from_another_page_when_its_own_is_closed(server, page, other_page, thinker):
    links = [["thinker", "thinker", "edit", "thinker"], ["edit", "trajectory", "viewer", "trajectory"]]
    kind, pos, values = THINK["edit"]
    build(other_page, thinker, {**THINK, "edit": [kind, pos, {**values, "turns": 2, "seed": 7}]}, links)
    workflow = other_page.evaluate("app.rootGraph.serialize()")
    other_page.evaluate("app.queuePrompt(0)")
    other_page.get_by_label("The next prompt").first.wait_for(timeout=LONG)
    other_page.goto("about:blank")
    page.evaluate("workflow => app.loadGraphData(workflow)", workflow)
    text = page.get_by_label("The next prompt").first
    text.wait_for(timeout=LONG)
    text.fill("once more")
    page.get_by_role("button", name="Go on").first.click()
    turn(page, 2).first.wait_for(timeout=LONG)
    page.get_by_text("All turns used").first.wait_for(timeout=LONG)
    assert [step["prompt"] for step in ended(server)["steps"]][1] == "once more"


@pytest.mark.parametrize("window", CANVASES[:1], indirect=True)
def test_the_page_learns_that_a_loop_was_cut_off_where_it_could_not_say_so(server, page, thinker):
    loop = {
        "open": ["RethinkThinkLoopOpen", [350, 0], {"instruction": "make the circle blue", "seed": 11}],
        "edit": ["RethinkSampleEdit", [700, 0], {"steps": 50}],
        "close": ["RethinkThinkLoopClose", [1050, 0], {}],
    }
    links = [
        ["thinker", "thinker", "open", "thinker"],
        ["scene", "image", "open", "image"],
        ["open", "loop", "close", "loop"],
    ]
    links += [
        ["open", "image", "edit", "image"],
        ["open", "prompt", "edit", "instruction"],
        ["edit", "image", "close", "edited"],
    ]
    build(page, thinker, loop, links)
    page.evaluate("app.queuePrompt(0)")
    page.locator(".rt-status:visible", has_text=re.compile("Turn [2-5] of 5 · editing")).wait_for(timeout=LONG)
    page.locator(".rt-frame-pending img.rt-preview").wait_for(timeout=LONG)  # what the nodes in between show
    page.wait_for_function(PICTURES_ARE_THERE)
    shoot(page, f"viewer-preview-{page.canvas_kind}")
    server.post("/interrupt", {})
    page.get_by_text("Not finished").wait_for(timeout=LONG)
