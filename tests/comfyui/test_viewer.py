"""A thinking loop in the window, on both canvases: turns arrive, a person steps in, and the run is found again.

The editor is the miniature; the thinker is a server in this process whose answers are written down here.
"""

import datetime
import json
import re
import shutil
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.browsers import needs_chromium, shoot, wait_in_page
from tests.support.comfyui_server import read_run
from tests.support.comfyui_window import CANVASES, LONG, execute_command, reload_window, wait_until_still
from tests.support.runs import PROMPTS, made_up_run
from tests.support.servers import completion, openai_server
from tests.support.thinking import said

pytestmark = needs_chromium

SOON = 500  # milliseconds, in which a run would be seen where it must not be

ANSWERS = (
    (3.0, 6.5, "make the red circle blue"),
    (6.0, 7.0, "make the small red circle at the bottom blue"),
    (7.0, 7.5, "make the small red circle at the bottom blue; keep the rest"),
)


@pytest.fixture(scope="module")
def thinker():
    """The address of a server that answers in OpenAI's language, one of ANSWERS after the other."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            semantic, quality, prompt = ANSWERS[len(asked) % len(ANSWERS)]
            asked.append(prompt)
            text = f"<think>Look {len(asked)}.</think>"
            text += f'<score>{{"semantic": {semantic}, "quality": {quality}}}</score><answer>{prompt}</answer>'
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
            answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "scripted", "choices": [choice]}
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


BUILD = """async ([nodes, links]) => {
    const made = {}
    app.rootGraph.clear();
    app.rootGraph.id = crypto.randomUUID(); // else its nodes get the values of those that had their numbers before
    for (const [name, [kind, pos, values]] of Object.entries(nodes)) {
        const node = made[name] = LiteGraph.createNode(kind);
        app.rootGraph.add(node);
        node.pos = pos;
        for (const [key, value] of Object.entries(values)) node.widgets.find((widget) => widget.name === key).value = value;
    }
    const slot = (slots, name) => slots.findIndex((each) => each.name === name);
    for (const [from, output, to, input] of links)
        made[from].connect(slot(made[from].outputs, output), made[to], slot(made[to].inputs, input));
    const workflow = {...app.rootGraph.serialize(), id: crypto.randomUUID()};
    await app.loadGraphData(workflow);
    app.canvas.ds.scale = 0.7;
    app.canvas.ds.offset = [150, 150];
    app.canvas.setDirty(true, true);
    return Object.fromEntries(Object.entries(made).map(([name, node]) => [name, node.id]));
}"""


def backend_of(address):
    return {"backend": "server", "backend.base_url": address, "backend.model": "scripted"}


def build(page, thinker, editor, links):
    nodes = {
        "load": ["RethinkLoadEditor", [0, 0], {"editor": "miniature"}],
        "scene": ["RethinkScene", [0, 220], {"seed": CANVASES.index(page.canvas_kind)}],  # else it comes from the cache
        "thinker": ["RethinkLoadThinker", [0, 460], backend_of(thinker)],
        **editor,
    }
    common = [["load", "editor", "edit", "editor"], ["scene", "image", "edit", "image"]]
    return page.evaluate(BUILD, [nodes, [*common, *links]])


THINK = {
    "edit": [
        "RethinkThinkWhileEdit",
        [350, 0],
        {"instruction": "make the circle blue", "steps": 2, "turns": 6, "pause": True},
    ],
    "viewer": ["RethinkTrajectoryViewer", [850, 0], {}],
}
SAMPLE = {
    "edit": ["RethinkSampleEdit", [400, 0], {"instruction": "make the circle blue", "steps": 2}],
    "preview": ["PreviewImage", [800, 0], {}],
}


def turn(page, number):
    return page.locator(f".rt-node [role=option][aria-posinset='{number}']")


# A turn that is being made may be over before anybody looks.
REMEMBER_PENDING = """() => {
    window.pending = [];
    new MutationObserver(() => {
        for (const frame of document.querySelectorAll(".rt-frame-pending")) window.pending.push(frame.textContent);
    }).observe(document.body, {subtree: true, childList: true, characterData: true});
}"""


def test_turns_arrive_a_person_steps_in_and_the_run_is_found_again(server, page, thinker):
    links = [["thinker", "thinker", "edit", "thinker"], ["edit", "trajectory", "viewer", "trajectory"]]
    build(page, thinker, THINK, links)
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


def test_the_edit_is_seen_while_it_is_made_and_while_the_thinker_looks(server, page, slow_thinker):
    links = [["thinker", "thinker", "edit", "thinker"], ["edit", "trajectory", "viewer", "trajectory"]]
    kind, pos, values = THINK["edit"]
    values = {**values, "steps": 80, "turns": 2, "pause": False, "seed": 31}
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
        assert "The best edit that was judged is the result" in ending.first.inner_text()
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
    assert entry["status"]["status_str"] == "error" and "what was made is kept in" in json.dumps(entry["status"])


PICTURES_ARE_THERE = """[...document.querySelectorAll('.rt-node .rt-frame')]
    .every((frame) => frame.querySelector('img')?.naturalWidth > 0)"""


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
    assert card.locator("img").evaluate("image => image.naturalWidth") > 0
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


def newest(server):
    return list(server.json("/history?max_items=1").values())[-1]


def ended(server):
    """The record of the newest run, once its prompt is done."""
    end = time.monotonic() + LONG / 1000
    while server.json("/queue")["queue_running"]:
        assert time.monotonic() < end, "it did not end"
        time.sleep(0.1)
    entry = newest(server)
    assert entry["status"]["status_str"] == "success", entry["status"]
    runs = [run for output in entry["outputs"].values() for run in output.get("rethink_run", [])]
    assert all(run == runs[0] for run in runs)
    return read_run(server, runs[0])


def test_selected_nodes_are_wrapped_in_a_loop(server, page, thinker):
    wrap = """ids => {
        for (const node of app.rootGraph.nodes.filter((node) => ids.without.includes(node.id))) app.rootGraph.remove(node);
        app.canvas.selectItems([app.rootGraph.getNodeById(ids.edit)]);
        app.extensionManager.command.execute('Rethink.WrapInThinkLoop');
        return [...app.rootGraph.links.values()].map((link) => {
            const [from, to] = [link.origin_id, link.target_id].map((id) => app.rootGraph.getNodeById(id));
            return [from.type, from.outputs[link.origin_slot].name, to.type, to.inputs[link.target_slot].name].join(' ');
        }).sort();
    }"""
    ids = build(page, thinker, SAMPLE, [["edit", "image", "preview", "images"]])
    without_thinker = page.evaluate(wrap, {"edit": ids["edit"], "without": [ids["thinker"]]})
    ids = build(page, thinker, SAMPLE, [["edit", "image", "preview", "images"]])
    links = page.evaluate(wrap, {"edit": ids["edit"], "without": []})
    assert links == without_thinker, "where there is no thinker, one is added"
    kinds = {"Open": "RethinkThinkLoopOpen", "Close": "RethinkThinkLoopClose", "Edit": "RethinkSampleEdit"}
    expected = [
        "Close image PreviewImage images",
        "Edit image Close edited",
        "Open image Edit image",
        "Open loop Close loop",
        "Open prompt Edit instruction",
        "Open seed Edit seed",
        "RethinkLoadEditor editor Edit editor",
        "RethinkLoadThinker thinker Open thinker",
        "RethinkScene image Open image",
    ]
    assert links == sorted(" ".join(kinds.get(word, word) for word in line.split()) for line in expected)
    instruction = (
        "app.rootGraph.nodes.find((n) => n.type.endsWith('LoopOpen')).widgets.find((w) => w.name === 'instruction')"
    )
    assert page.evaluate(f"{instruction}.value") == "make the circle blue"

    widgets = "app.rootGraph.nodes.find((n) => n.type.endsWith('LoopOpen')).widgets"
    for name, value in (("turns", "3"), ("pause", "true")):
        page.evaluate(f"{widgets}.find((w) => w.name === '{name}').value = {value}")
    page.evaluate(SAME_SEEDS)
    page.evaluate(INTO_A_SUBGRAPH)
    page.evaluate("app.queuePrompt(0)")
    outside = turn(page, 1)
    for number in (1, 2):  # the viewer outside sees the loop while it runs, and steers it
        turn(page, number).wait_for(timeout=LONG)
        page.locator(".rt-status:visible", has_text=f"Turn {number + 1} of 3 · waiting for you").wait_for(timeout=LONG)
        page.get_by_role("button", name="Go on").click()
    turn(page, 3).wait_for(timeout=LONG)
    assert len(ended(server)["steps"]) == 3
    shoot(page, f"viewer-wrapped-{page.canvas_kind}")

    first = newest(server)
    as_new = "app.loadGraphData({...app.rootGraph.serialize(), id: crypto.randomUUID()})"
    page.evaluate(as_new)
    outside.wait_for(state="detached")
    assert not page.evaluate(SHOWS_A_RUN_INSIDE)
    page.evaluate("app.queuePrompt(0)")  # the same again: ComfyUI answers out of its cache
    outside.wait_for(timeout=LONG)
    assert ended(server)["steps"] and newest(server)["prompt"][1] != first["prompt"][1]

    # As from the history: the workflow is loaded anew, then what its job has put out is handed over.
    page.evaluate(as_new)
    outside.wait_for(state="detached")
    earlier = "output/of/another/picture"
    outputs = {node: {name: [earlier, *shown] for name, shown in o.items()} for node, o in first["outputs"].items()}
    page.evaluate("outputs => { app.nodeOutputs = outputs; }", outputs)
    outside.wait_for(timeout=LONG)
    page.wait_for_function(SHOWS_A_RUN_INSIDE)


LINKS = """() => [...app.canvas.graph.links.values()].map((link) => {
    const graph = app.canvas.graph;
    const [from, to] = [link.origin_id, link.target_id].map((id) => graph.getNodeById(id));
    const [out, into] = [(from ?? graph.inputNode).type, (to ?? graph.outputNode).type];
    const names = [(from?.outputs ?? graph.inputs)[link.origin_slot].name, (to?.inputs ?? graph.outputs)[link.target_slot].name];
    return [from ? out : 'rim', names[0], to ? into : 'rim', names[1]].join(' ').replaceAll('Rethink', '');
}).sort()"""


@pytest.mark.parametrize("window", CANVASES[:1], indirect=True)
def test_what_is_wrapped_may_be_a_group_or_within_a_subgraph_and_what_cannot_be_is_told(page, thinker):
    links = [["edit", "image", "preview", "images"], ["scene", "instruction", "edit", "instruction"]]
    nodes = "const [scene, edit] = ['Scene', 'SampleEdit'].map((kind) => app.rootGraph.nodes.find((n) => n.type === `Rethink${kind}`));"
    select = f"() => {{ {nodes} app.canvas.deselectAll(); app.canvas.selectItems(%s); app.extensionManager.command.execute('Rethink.WrapInThinkLoop'); }}"
    build(page, thinker, SAMPLE, links)
    before = page.evaluate(LINKS)
    page.evaluate(select % "[scene, edit]")  # the picture that is brought is none to go into another input
    page.get_by_text("No image goes into the selection").wait_for(timeout=LONG)
    assert page.evaluate(LINKS) == before

    group = "(() => { const group = new LiteGraph.LGraphGroup('edit'); app.rootGraph.add(group); group.resizeTo([edit]); group.recomputeInsideNodes(); return [group]; })()"
    page.evaluate(select % group)
    assert "SampleEdit image ThinkLoopClose edited" in page.evaluate(LINKS)

    native = {
        "image": ["LoadImage", [0, 0], {}],
        "encode": ["VAEEncode", [300, 0], {}],
        "sample": ["KSampler", [600, 0], {}],
        "do": ["CLIPTextEncode", [300, 200], {}],
        "not": ["CLIPTextEncode", [300, 400], {}],
        "decode": ["VAEDecode", [900, 0], {}],
        "words": ["PrimitiveStringMultiline", [0, 200], {}],
        "no": ["PrimitiveStringMultiline", [0, 400], {}],
    }
    wires = [["image", "IMAGE", "encode", "pixels"], ["encode", "LATENT", "sample", "latent_image"]]
    wires += [["do", "CONDITIONING", "sample", "positive"], ["not", "CONDITIONING", "sample", "negative"]]
    wires += [
        ["words", "STRING", "do", "text"],
        ["no", "STRING", "not", "text"],
        ["sample", "LATENT", "decode", "samples"],
    ]
    page.evaluate(BUILD, [native, wires])
    page.evaluate("""() => {
        const kinds = ['VAEEncode', 'KSampler', 'CLIPTextEncode', 'VAEDecode'];
        app.canvas.selectItems(app.rootGraph.nodes.filter((node) => kinds.includes(node.type)));
        app.extensionManager.command.execute('Rethink.WrapInThinkLoop');
    }""")
    told = [link for link in page.evaluate(LINKS) if "STRING" in link or "prompt" in link]
    assert told == [
        "PrimitiveStringMultiline STRING CLIPTextEncode text",
        "PrimitiveStringMultiline STRING ThinkLoopOpen instruction",
        "ThinkLoopOpen prompt CLIPTextEncode text",
    ], "what shall not be seen stays as it is"

    build(page, thinker, SAMPLE, links)
    page.evaluate(f"() => {{ {nodes} app.rootGraph.convertToSubgraph(new Set([edit])); }}")
    page.evaluate(
        "() => { const [node] = app.rootGraph.nodes.filter((n) => n.subgraph); app.canvas.openSubgraph(node.subgraph, node); }"
    )
    wait_until_still(page)
    page.evaluate(
        "() => { app.canvas.selectItems(app.canvas.graph.nodes); app.extensionManager.command.execute('Rethink.WrapInThinkLoop'); }"
    )
    assert page.evaluate(LINKS) == [
        "LoadThinker thinker ThinkLoopOpen thinker",
        "SampleEdit image ThinkLoopClose edited",
        "ThinkLoopClose image rim image",
        "ThinkLoopOpen image SampleEdit image",
        "ThinkLoopOpen loop ThinkLoopClose loop",
        "ThinkLoopOpen prompt SampleEdit instruction",
        "ThinkLoopOpen seed SampleEdit seed",
        "rim editor SampleEdit editor",
        "rim image ThinkLoopOpen image",
        "rim instruction ThinkLoopOpen instruction",
        "rim seed ThinkLoopOpen seed",
    ]


SAME_SEEDS = """() => app.rootGraph.nodes.flatMap((node) => node.widgets ?? [])
    .filter((widget) => widget.value === 'randomize').forEach((widget) => { widget.value = 'fixed'; })"""
INTO_A_SUBGRAPH = """() => {
    const graph = app.rootGraph;
    const [close] = graph.nodes.filter((node) => node.type === 'RethinkThinkLoopClose');
    const viewer = LiteGraph.createNode('RethinkTrajectoryViewer');
    graph.add(viewer);
    viewer.pos = [close.pos[0], close.pos[1] + close.size[1] + 60];
    close.connect(close.outputs.findIndex((output) => output.name === 'trajectory'), viewer, 0);
    const loop = ['RethinkThinkLoopOpen', 'RethinkSampleEdit', 'RethinkThinkLoopClose'];
    graph.convertToSubgraph(new Set(graph.nodes.filter((node) => loop.includes(node.type))));
}"""
SHOWS_A_RUN_INSIDE = """() => {
    const [loop] = app.rootGraph.nodes.filter((node) => node.subgraph);
    const [close] = loop.subgraph.nodes.filter((node) => node.type === 'RethinkThinkLoopClose');
    const view = close.widgets.find((widget) => widget.name === 'rethink_trajectory').element;
    return view.querySelector('.rt-idle').hidden;
}"""
