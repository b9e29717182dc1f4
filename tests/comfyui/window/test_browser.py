"""What a user does in the window: drop a workflow, run it, and see the picture; on both canvases.

Screenshots go to the folder that the environment variable RETHINK_SCREENSHOTS names, if it is set, to be looked at.
"""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rethink.builtin import EDITOR_FOLDER
from tests.browsers import needs_chromium, see
from tests.support.comfyui_window import CANVASES, fit_view, wait_until_still
from tests.support.hosts import PACK_ROOT

# What the others send is compared with their twins below, which run without a window in test_server.py.
DROPPED = ("built_in_edit", "built_in_think", "edit_chain")

pytestmark = [
    needs_chromium,
    pytest.mark.skipif(not EDITOR_FOLDER.exists(), reason="the built-in editor is not trained yet"),
]


def drop(page, path: Path) -> None:
    """Drags a file from the desktop into the window."""
    page.evaluate(
        """([name, text]) => {
            const files = new DataTransfer();
            files.items.add(new File([text], name, {type: 'application/json'}));
            for (const kind of ['dragenter', 'dragover', 'drop'])
                document.querySelector('canvas').dispatchEvent(
                    new DragEvent(kind, {dataTransfer: files, bubbles: true, cancelable: true}));
        }""",
        [path.name, path.read_text(encoding="utf-8")],
    )
    wanted = {node["type"] for node in json.loads(path.read_text(encoding="utf-8"))["nodes"]}
    page.wait_for_function(
        "kinds => kinds.every(kind => app.graph.nodes.some(node => node.type === kind))", arg=sorted(wanted)
    )


def results(server) -> list[Image.Image]:
    """The pictures of the newest run."""
    entry = list(server.json("/history?max_items=1").values())[-1]
    assert entry["status"]["status_str"] == "success", entry["status"]["messages"][-1]
    found = [image for output in entry["outputs"].values() for image in output.get("images", [])]
    return [Image.open(io.BytesIO(server.view(image))).convert("RGB") for image in found]


def share_of_color(screen: Image.Image, color: tuple) -> float:
    return float((np.abs(np.asarray(screen, int) - color).max(-1) <= 6).mean())


@pytest.mark.parametrize("name", DROPPED)
def test_a_dropped_workflow_shows_its_result(server, page, name):
    drop(page, PACK_ROOT / "workflows" / f"{name}.json")
    fit_view(page)
    before, done = see(page, f"{name}-{page.canvas_kind}-before"), len(server.json("/history"))
    page.keyboard.press("Control+Enter")
    for _ in range(1800):
        if len(server.json("/history")) > done:
            break
        page.wait_for_timeout(100)
    corner = results(server)[-1].getpixel((2, 2))  # a picture's corner shows its background
    for _ in range(100):  # until the window has drawn it
        page.wait_for_timeout(100)
        if (
            shown := share_of_color(see(page, f"{name}-{page.canvas_kind}-after"), corner)
            > share_of_color(before, corner) + 0.002
        ):
            break
    assert shown


OVERLAPS = """() => {
    const boxes = app.graph.nodes.map(({title, pos, size}) =>
        ({title, left: pos[0], top: pos[1] - LiteGraph.NODE_TITLE_HEIGHT, right: pos[0] + size[0], bottom: pos[1] + size[1]}));
    const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
    return boxes.flatMap((a, i) => boxes.slice(0, i).filter((b) => meet(a, b)).map((b) => `${a.title} and ${b.title}`));
}"""


OUT_OF_SIGHT = """() => {
    const [left, top, width, height] = app.canvas.ds.visible_area;
    const inside = ({pos, size}) =>
        pos[0] >= left && pos[1] >= top && pos[0] + size[0] <= left + width && pos[1] + size[1] <= top + height;
    const hidden = app.graph.nodes.filter((node) => !inside(node)).map(({title}) => title);
    return app.canvas.low_quality ? ["all words"] : hidden;
}"""


def test_a_workflow_opens_whole_with_its_words_and_without_overlaps(page):
    """A node grows to what its widgets need, whatever size the file says; the canvas leaves words out when far away."""
    overlaps, unseen = {}, {}
    for path in sorted((PACK_ROOT / "workflows").glob("*.json")):
        workflow = json.loads(path.read_text(encoding="utf-8"))
        page.evaluate("([workflow, name]) => app.loadGraphData(workflow, true, true, name)", [workflow, path.stem])
        wait_until_still(page)
        overlaps[path.stem], unseen[path.stem] = page.evaluate(OVERLAPS), page.evaluate(OUT_OF_SIGHT)
    assert not any(overlaps.values()), overlaps
    assert not any(unseen.values()), unseen


SENT = """async (workflow) => {
    await app.loadGraphData(workflow);
    return (await app.graphToPrompt()).output;
}"""


@pytest.mark.parametrize("window", CANVASES[:1], indirect=True)  # what is sent is made the same way on both
def test_what_a_workflow_sends_is_what_its_twin_says(page):
    for path in sorted((PACK_ROOT / "workflows").glob("*.json")):
        twin = json.loads((path.parent / "api" / path.name).read_text(encoding="utf-8"))
        sent = page.evaluate(SENT, json.loads(path.read_text(encoding="utf-8")))
        assert graph_of(sent) == graph_of(twin), path.stem


def graph_of(prompt: dict) -> dict:
    """Without what has no value of its own, and what people read alone."""
    return {
        number: (node["class_type"], {name: value for name, value in node["inputs"].items() if value not in ({}, "")})
        for number, node in prompt.items()
    }
