"""What nodes say on themselves, and what they pass on when they are bypassed: in the window, on both canvases."""

import io
import json

import pytest
from PIL import Image

from rethink.builtin import EDITOR_FOLDER, THINKER_FOLDER
from tests.browsers import needs_chromium, shoot
from tests.support.comfyui_window import fit_view, reload_window, wait_until_still
from tests.support.hosts import PACK_ROOT

trained = pytest.mark.skipif(
    not (EDITOR_FOLDER.exists() and THINKER_FOLDER.exists()), reason="the built-in models are not trained yet"
)
BYPASSED = """async ([workflow, kinds]) => {
    await app.loadGraphData(workflow);
    for (const node of app.graph.nodes) if (kinds.includes(node.type)) node.mode = 4;
    return (await app.graphToPrompt()).output;
}"""
TEXTS = "() => [...document.querySelectorAll('.rethink-text')].map((text) => text.textContent).filter(Boolean)"

HEIGHTS = "() => [...document.querySelectorAll('.rethink-text')].map((text) => text.offsetHeight)"
GROW = """() => {
    for (const node of app.graph.nodes) node.setSize([node.size[0], node.size[1] + 300]);
    app.canvas.setDirty(true, true);
}"""


def workflow(name: str) -> dict:
    """A shipped one, as a template that is opened anew: with an id of its own."""
    found = json.loads((PACK_ROOT / "workflows" / f"{name}.json").read_text(encoding="utf-8"))
    found.pop("id", None)
    return found


def links_of(prompt: dict, class_type: str, name: str) -> set[str]:
    """From which kinds of nodes an input of all nodes of a kind comes."""
    nodes = [node for node in prompt.values() if node["class_type"] == class_type]
    return {prompt[node["inputs"][name][0]]["class_type"] for node in nodes if name in node["inputs"]}


@needs_chromium
@pytest.mark.parametrize("window", ["classic"], indirect=True)  # what is sent is made the same way on both
@pytest.mark.parametrize(
    ("name", "kinds", "behind", "input", "origin"),
    [
        ("keep_unchanged_pixels", ["RethinkKeepUnchangedPixels"], "SaveImage", "images", "RethinkSampleEdit"),
        ("lora_stack", ["RethinkEditLoraLoader"], "RethinkSampleEdit", "editor", "RethinkLoadEditor"),
        ("built_in_edit", ["RethinkSampleEdit"], "SaveImage", "images", "RethinkScene"),
        ("edit_chain", ["RethinkEditChain"], "SaveImage", "images", "RethinkScene"),
        ("built_in_think", ["RethinkThinkWhileEdit"], "SaveImage", "images", "RethinkScene"),
        (
            "filter_and_save_pairs",
            ["RethinkFilterEditPairs", "RethinkPreviewPairs"],
            "RethinkSaveEditDataset",
            "pairs",
            "RethinkInverseEditSynthesizer",
        ),
        (
            "think_any_graph",
            ["RethinkThinkLoopOpen", "RethinkThinkLoopClose"],
            "SaveImage",
            "images",
            "RethinkSampleEdit",
        ),
    ],
)
def test_a_bypassed_node_passes_on_what_it_works_on(page, name, kinds, behind, input, origin):
    assert links_of(page.evaluate(BYPASSED, [workflow(name), kinds]), behind, input) == {origin}


@needs_chromium
@pytest.mark.parametrize("window", ["classic"], indirect=True)
def test_a_file_from_before_the_edit_came_first_is_wired_as_it_was(page):
    old = workflow("keep_unchanged_pixels")
    node = next(node for node in old["nodes"] if node["type"] == "RethinkKeepUnchangedPixels")
    edited, source, mask = node["inputs"]
    node["inputs"] = [source, edited, mask]
    slots = {entry["link"]: slot for slot, entry in enumerate(node["inputs"])}
    for link in old["links"]:
        if link[3] == node["id"]:
            link[4] = slots[link[0]]
    prompt = page.evaluate(BYPASSED, [old, []])
    assert links_of(prompt, "RethinkKeepUnchangedPixels", "edited") == {"RethinkSampleEdit"}
    assert links_of(prompt, "RethinkKeepUnchangedPixels", "source") == {"RethinkScene"}


@trained
@needs_chromium
def test_what_nodes_say_comes_back_after_a_reload_a_cached_run_and_another_tab(page, server):
    graph = workflow("built_in_edit")
    thinker, critic = (
        {"type": "RethinkLoadThinker", "pos": [1240, 0]},
        {"type": "RethinkCritiqueEdit", "pos": [1240, 240]},
    )
    page.evaluate("graph => app.loadGraphData(graph)", graph)
    page.evaluate(
        """([thinker, critic]) => {
            const add = ({type, pos}) => {
                const node = LiteGraph.createNode(type);
                node.pos = pos;
                app.graph.add(node);
                return node;
            };
            const find = (type) => app.graph.nodes.find((node) => node.type === type);
            const [eyes, judge, scene, editor] = [add(thinker), add(critic), find('RethinkScene'), find('RethinkSampleEdit')];
            const into = (name) => judge.inputs.findIndex((input) => input.name === name);
            eyes.connect(0, judge, into('thinker'));
            scene.connect(0, judge, into('source'));
            editor.connect(0, judge, into('edited'));
            scene.connect(1, judge, into('instruction'));
            const text = LiteGraph.createNode('PreviewAny');
            app.graph.add(text);
            text.pos = [1600, 0];
            judge.connect(2, text, 0);
        }""",
        [thinker, critic],
    )
    fit_view(page)
    page.evaluate("app.queuePrompt(0)")
    page.wait_for_function(f"({TEXTS})().length === 2", timeout=180_000)
    wait_until_still(page)
    shoot(page, f"words-{page.canvas_kind}")
    heights = page.evaluate(HEIGHTS)
    page.evaluate(GROW)
    wait_until_still(page)
    assert page.evaluate(HEIGHTS) == heights, "the room that is left on a node is for its images and prompts"
    said = sorted(page.evaluate(TEXTS))
    assert (
        said[0].startswith("4 steps · text guidance") and said[1].startswith("semantic ") and " · quality " in said[1]
    )
    entry = list(server.json("/history?max_items=1").values())[-1]
    saved = next(
        image for output in entry["outputs"].values() for image in output.get("images", []) if image["type"] == "output"
    )
    picture = Image.open(io.BytesIO(server.view(saved)))
    (notes,) = json.loads(picture.text["rethink"]).values()
    assert notes["editor"] == "built-in" and notes["steps"] == 4 and notes["text_guidance"] > 0

    reload_window(page)
    page.wait_for_function(f"({TEXTS})().length === 2", timeout=180_000)
    assert sorted(page.evaluate(TEXTS)) == said
    scene = "app.graph.nodes.find((node) => node.type === 'RethinkScene')"
    page.evaluate(f"{scene}.widgets.find(({{name}}) => name === 'seed').value -= 1")  # it counts up after every run
    page.evaluate("document.querySelectorAll('.rethink-text').forEach((text) => text.textContent = '')")
    page.evaluate("app.queuePrompt(0)")
    page.wait_for_function(f"({TEXTS})().length === 2", timeout=180_000)
    assert sorted(page.evaluate(TEXTS)) == said, "nothing was computed, and everything is said again"


@trained
@needs_chromium
def test_the_built_in_editor_says_on_the_node_that_it_does_not_know_a_photograph(page, server):
    noise = Image.effect_noise((160, 120), 90).convert("RGB")
    noise.save(server.log.parent / "input" / "own.png")
    graph = workflow("built_in_edit")
    page.evaluate("graph => app.loadGraphData(graph)", graph)
    page.evaluate(
        """() => {
            const find = (type) => app.graph.nodes.find((node) => node.type === type);
            const load = LiteGraph.createNode('LoadImage');
            app.graph.add(load);
            load.pos = [0, 800];
            load.widgets[0].value = 'own.png';
            const editor = find('RethinkSampleEdit');
            load.connect(0, editor, editor.inputs.findIndex(({name}) => name === 'image'));
        }"""
    )
    fit_view(page)
    page.evaluate("app.queuePrompt(0)")
    page.wait_for_function(f"({TEXTS})().length === 1", timeout=180_000)
    shoot(page, f"words-{page.canvas_kind}-photograph")
    assert page.evaluate(TEXTS)[0].startswith("The built-in editor only works on images of Built-in Scene")
