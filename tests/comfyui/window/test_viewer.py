"""A thinking loop in the window, on both canvases: turns arrive, a person steps in, and the run is found again.

The editor is the miniature; the thinker is a server in this process whose answers are written down here.
"""

import datetime
import json
import shutil
import socket
import threading
import time

import pytest

from tests.browsers import needs_chromium, shoot, wait_in_page
from tests.support.comfyui_runs import PICTURES_ARE_THERE, THINK, backend_of, build, ended, newest, turn
from tests.support.comfyui_window import LONG, execute_command, reload_window
from tests.support.runs import PROMPTS, made_up_run
from tests.support.servers import completion, openai_server
from tests.support.thinking import said

pytestmark = needs_chromium

# A turn that is being made may be over before anybody looks.
REMEMBER_PENDING = """() => {
    window.pending = [];
    new MutationObserver(() => {
        for (const frame of document.querySelectorAll(".rt-frame-pending")) window.pending.push(frame.textContent);
    }).observe(document.body, {subtree: true, childList: true, characterData: true});
}"""


def test_turns_arrive_a_person_steps_in_and_the_run_is_found_again(server, page, thinker):
    links = [["thinker", "thinker", "edit", "thinker"], ["edit", "trajectory", "viewer", "trajectory"]]
    kind, pos, values = THINK["edit"]
    build(page, thinker, {**THINK, "edit": [kind, pos, {**values, "regions": True}]}, links)
    page.evaluate("app.queuePrompt(0)")
    turn(page, 1).first.wait_for(timeout=LONG)
    text = page.get_by_label("The next prompt").first
    text.wait_for(timeout=LONG)
    assert turn(page, 1).count() == 2, "the node that runs and the viewer behind it"
    assert "waiting for you" in page.locator(".rt-status:visible").first.inner_text()
    shoot(page, f"viewer-waiting-{page.canvas_kind}")

    text.fill("make the circle as blue as the sky")
    page.evaluate(REMEMBER_PENDING)
    page.get_by_role("button", name="Go on").first.click()
    assert page.evaluate("document.activeElement.role") == "listbox", "the keyboard is not lost with the form"
    turn(page, 2).first.wait_for(timeout=LONG)
    assert any("as blue as the sky" in text for text in page.evaluate("window.pending"))
    assert turn(page, 2).first.locator("ins").all_inner_texts() == ["as", "as the sky"]

    page.get_by_label("The next prompt").first.wait_for(timeout=LONG)
    turn(page, 1).first.click()
    dialog = page.get_by_role("dialog")
    assert dialog.locator("h2").inner_text() == "Turn 1"
    box_lies_where_it_should(turn(page, 1).first.locator(".rt-region-thumb"), turn(page, 1).first.locator("img"))
    box_lies_where_it_should(dialog.locator(".rt-boxes"), dialog.locator(".rt-plane img").first)
    assert dialog.locator(".rt-region-label").inner_text() == "still wrong: still red"
    shoot(page, f"viewer-boxes-{page.canvas_kind}")
    page.keyboard.press("d")
    shoot(page, f"viewer-difference-{page.canvas_kind}")
    dialog.get_by_role("button", name="Accept turn 1").click()
    page.get_by_text("Accepted by you").first.wait_for(timeout=LONG)
    shoot(page, f"viewer-accepted-{page.canvas_kind}")
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")

    record = ended(server)
    assert [step["prompt_by"] for step in record["steps"]] == ["user", "human"]
    assert (record["stopped"], record["chosen"], record["best"]) == ("human", 0, 0)

    execute_command(page, "Comfy.NewBlankWorkflow")
    page.locator(".rt-node").first.wait_for(state="detached")
    execute_command(page, "Workspace.PreviousOpenedWorkflow")
    turn(page, 1).first.wait_for(timeout=LONG)

    server.post("/settings/Comfy.ColorPalette", "light")
    reload_window(page)
    turn(page, 1).first.wait_for(timeout=LONG)
    assert turn(page, 1).first.locator(".rt-star").count() == 1 and page.locator(".rt-status:visible").count() == 0
    shoot(page, f"viewer-reloaded-{page.canvas_kind}")
    with page.expect_download() as download:
        turn(page, 2).first.click()
        page.get_by_role("button", name="Export").click()
    assert "data:image/png;base64," in download.value.path().read_text(encoding="utf-8")
    shoot(page, f"viewer-light-{page.canvas_kind}")
    page.evaluate("app.rootGraph.clear(); app.rootGraph.add(LiteGraph.createNode('RethinkLoadTrajectory'))")
    turn(page, 2).wait_for(timeout=LONG)  # without being queued
    server.post("/settings/Comfy.ColorPalette", "dark")
    assert str(page.evaluate("JSON.stringify(app.rootGraph.serialize())")).find("data:image") < 0


def box_lies_where_it_should(boxes, image):
    """The thinker's box goes from a tenth of the image to 0.45 of it, both ways, however large the image, which is square, is shown."""
    frame, around = boxes.locator("rect.rt-region").bounding_box(), image.bounding_box()
    size = min(around["width"], around["height"])
    for start, side in (("x", "width"), ("y", "height")):
        image_start = around[start] + (around[side] - size) / 2
        assert (frame[start] - image_start) / size == pytest.approx(0.1, abs=0.03)
        assert frame[side] / size == pytest.approx(0.35, abs=0.05)


def test_the_edit_is_seen_while_it_is_made_and_while_the_thinker_looks(server, page, slow_thinker):
    links = [["thinker", "thinker", "edit", "thinker"], ["edit", "trajectory", "viewer", "trajectory"]]
    kind, pos, values = THINK["edit"]
    values = {**values, "steps": 100, "turns": 2, "pause": False, "seed": 31}
    build(page, slow_thinker.url, {**THINK, "edit": [kind, pos, values]}, links)
    with page.expect_response(lambda reply: "/rethink/preview" in reply.url, timeout=LONG) as preview:
        page.evaluate("app.queuePrompt(0)")
    assert preview.value.status == 200, "the strip shows what comes of it"
    looking = page.locator(".rt-frame-pending", has_text="looking…").first
    looking.wait_for(timeout=LONG)
    page.wait_for_function("document.querySelector('.rt-frame-pending .rt-thumb img')?.naturalWidth > 0")
    assert "turn-0001-00.png" in looking.locator("img").get_attribute("src")
    shoot(page, f"viewer-looking-{page.canvas_kind}")
    page.evaluate("document.querySelectorAll('.rt-frame-pending img').forEach((image) => { image.dataset.same = ''; })")
    slow_thinker.go.set()
    turn(page, 1).first.wait_for(timeout=LONG)
    assert turn(page, 1).locator("img[data-same]").count() == 2, (
        "the picture goes over to the turn and does not flicker"
    )
    ended(server)


@pytest.fixture
def slow_thinker():
    """A server that answers when it is let go."""
    go = threading.Event()

    def wait(body):
        go.wait(LONG / 1000)
        return 200, completion(said(9, 9)), {}

    with openai_server() as running:
        running.replies, running.go = [wait], go
        yield running
        go.set()


def test_a_thinker_that_cannot_be_reached_is_said_in_red(server, page):
    links = [["thinker", "thinker", "edit", "thinker"], ["edit", "trajectory", "viewer", "trajectory"]]
    kind, pos, values = THINK["edit"]
    values = {**values, "pause": False, "turns": 3}
    with openai_server() as critic:
        critic.replies = [(200, completion(said(5, 5, "do it better")), {}), (400, "it is gone", {})]
        build(page, critic.url, {**THINK, "edit": [kind, pos, {**values, "seed": 41}]}, links)
        page.evaluate("app.queuePrompt(0)")
        ending = page.locator(".rt-ending[data-trouble]:visible")
        ending.first.wait_for(timeout=LONG)
        assert "The result is the best edit that was judged" in ending.first.inner_text()
        red, green, blue = page.evaluate(
            "getComputedStyle(document.querySelector('.rt-ending')).color.match(/\\d+/g).map(Number)"
        )
        assert red > 1.5 * max(green, blue)
        assert turn(page, 1).first.locator(".rt-star").count() == 1
        assert "not judged" in turn(page, 2).first.inner_text()
        page.wait_for_function(PICTURES_ARE_THERE)
        shoot(page, f"viewer-failed-{page.canvas_kind}")
        ended(server)

    nobody = ["RethinkLoadThinker", [0, 460], {**backend_of(unused_address()), "backend.retries": 0}]
    build(page, "", {**THINK, "edit": [kind, pos, {**values, "seed": 42}], "thinker": nobody}, links)
    page.evaluate("app.queuePrompt(0)")
    ending = page.locator(".rt-ending[data-trouble]:visible", has_text="No edit was judged").first
    ending.wait_for(timeout=LONG)
    assert "cannot be reached" in ending.inner_text()
    assert ending.evaluate("text => text.scrollHeight <= text.clientHeight"), "all of it is in sight"
    page.get_by_text("result, not judged").first.wait_for(timeout=LONG)
    assert page.locator(".rt-star").count() == 0
    page.wait_for_function(PICTURES_ARE_THERE)
    shoot(page, f"viewer-unjudged-{page.canvas_kind}")
    turn(page, 1).first.click()
    about = page.get_by_role("dialog").locator(".rt-about")
    assert "cannot be reached" in about.inner_text() and about.evaluate("text => text.scrollWidth <= text.clientWidth")
    shoot(page, f"viewer-unjudged-large-{page.canvas_kind}")
    entry = newest(server)
    assert entry["status"]["status_str"] == "error" and "the edits made so far are kept in" in json.dumps(
        entry["status"]
    )


def unused_address():
    """Where no server listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"


LOADED = """async (run) => {
    const node = LiteGraph.createNode('RethinkLoadTrajectory');
    app.rootGraph.clear();
    app.rootGraph.id = crypto.randomUUID();
    app.rootGraph.add(node);
    node.widgets[0].value = run; // the list that it chooses from is as old as the page
    await app.loadGraphData({...app.rootGraph.serialize(), id: crypto.randomUUID()});
    app.canvas.ds.scale = 0.8;
    app.canvas.ds.offset = [200, 150];
    app.canvas.setDirty(true, true);
}"""


# It returns nothing: what it would return comes when a run is chosen.
CHOOSE = "() => { app.rootGraph.nodes[0].widgets.find((widget) => widget.name === 'rethink_choose').callback(); }"


@pytest.fixture
def long_run(server):
    """A run of many turns in ComfyUI's output folder."""
    folder = server.log.parent / "output" / "long" / f"run-{time.time_ns()}"
    made_up_run(folder, turns=12)
    yield folder
    shutil.rmtree(folder)


def test_the_wheel_goes_along_the_strip_and_a_larger_node_shows_larger_pictures(server, long_run, page):
    page.evaluate(LOADED, f"output/long/{long_run.name}")
    turn(page, 12).wait_for(timeout=LONG)
    strip = page.locator(".rt-node .rt-strip")
    box = strip.bounding_box()
    place = page.evaluate("[app.canvas.ds.scale, ...app.canvas.ds.offset]")
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    before = strip.evaluate("strip => strip.scrollLeft")
    for by in (-300, -300, -5000, -300, 200):  # also where it ends
        page.mouse.wheel(0, by)
        wait_in_page(page, 150)
    assert 0 < strip.evaluate("strip => strip.scrollLeft") < before
    assert page.evaluate("[app.canvas.ds.scale, ...app.canvas.ds.offset]") == place, "the canvas stays where it is"
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    page.wait_for_function("scale => app.canvas.ds.scale !== scale", arg=place[0])  # a pinch is the canvas's

    thumb = page.locator(".rt-node .rt-frame .rt-thumb").first
    small = thumb.evaluate("thumb => thumb.offsetWidth")
    page.evaluate(
        "() => { app.rootGraph.nodes[0].setSize([1100, 900]); app.canvas.setDirty(true, true); app.canvas.ds.scale = 0.8; }"
    )
    page.wait_for_function(f"document.querySelector('.rt-node .rt-thumb').offsetWidth > {2 * small}", timeout=LONG)
    size = thumb.evaluate("thumb => [thumb.offsetWidth, thumb.offsetHeight]")
    assert min(size) > 400, size
    shoot(page, f"viewer-larger-{page.canvas_kind}")


def test_runs_are_chosen_by_picture_instruction_date_and_score(server, long_run, page):
    folders = [long_run.with_name(f"{long_run.name}-{number}") for number in range(3)]
    for turns, folder in enumerate(folders, 2):
        made_up_run(folder, turns=turns)
    page.evaluate(LOADED, f"output/long/{long_run.name}")
    turn(page, 12).wait_for(timeout=LONG)
    page.evaluate(CHOOSE)
    dialog = page.get_by_role("dialog", name="Choose a run")
    dialog.locator(".rt-run").first.wait_for(timeout=LONG)
    shoot(page, f"viewer-choose-{page.canvas_kind}")
    run = f"output/long/{folders[0].name}"
    card = dialog.locator(f".rt-run[title='{run}']")
    text = card.inner_text()
    assert PROMPTS[0] in text and "2 turns" in text and "score " in text and str(datetime.date.today().year) in text
    assert card.locator("img").evaluate("async (image) => (await image.decode(), image.naturalWidth)") > 0
    card.click()
    dialog.wait_for(state="detached")
    turn(page, 2).wait_for(timeout=LONG)
    page.wait_for_function("document.querySelectorAll('.rt-node [role=option]').length === 2")
    assert page.evaluate("app.rootGraph.nodes[0].widgets[0].value") == run
    assert page.evaluate("app.rootGraph.serialize().nodes[0].widgets_values") == [run]
    shoot(page, f"viewer-chosen-{page.canvas_kind}")
    if page.canvas_kind == "nodes-2.0":
        page.get_by_text(f" · {PROMPTS[0]}").first.wait_for(timeout=LONG)
    for folder in folders:
        shutil.rmtree(folder)
