"""What is selected is wrapped in a thinking loop, and the loop runs: on both canvases."""

import pytest

from tests.browsers import needs_chromium, shoot
from tests.support.comfyui_runs import BUILD, SAMPLE, build, ended, newest, turn
from tests.support.comfyui_window import CANVASES, LONG, wait_until_still

pytestmark = needs_chromium


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
