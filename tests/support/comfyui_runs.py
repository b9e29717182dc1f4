"""Graphs with a thinker, built in the window, and the runs that come of them."""

import time

from tests.support.comfyui_server import read_run
from tests.support.comfyui_window import CANVASES, LONG

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


PICTURES_ARE_THERE = """[...document.querySelectorAll('.rt-node .rt-frame')]
    .every((frame) => frame.querySelector('img')?.naturalWidth > 0)"""


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
