"""Train Edit LoRA in ComfyUI's window: what is on the node while it learns, when it is done, and when the page is loaded again.

Screenshots go to the folder that the environment variable RETHINK_SCREENSHOTS names, if it is set, to be looked at.
"""

import os

import pytest

from rethink.builtin import EDITOR_FOLDER
from tests.browsers import needs_chromium, shoot
from tests.support.comfyui_window import fit_view, reload_window
from tests.support.hosts import read_workflow

# To look at: RETHINK_TRAINING_STEPS=60 shows what people see.
STEPS = int(os.environ.get("RETHINK_TRAINING_STEPS", "6"))
FEW = {
    "RethinkInverseEditSynthesizer": {"pairs": 8, "dataset": "few-squares"},
    "RethinkTrainEditLora": {
        "steps": STEPS,
        "save_every": STEPS // 3,
        "batch": 2,
        "replay": 2,
        "keep": "low",
        "previews": 1,
        "layers": "family",
        "preview_instruction": "make the background navy",
    },
}
SET = """([name, values]) => {
    values.RethinkTrainEditLora.name = name;
    for (const node of [...app.graph.nodes]) {
        if (/SampleEdit|SaveImage/.test(node.type)) app.graph.remove(node);
        for (const [key, value] of Object.entries(values[node.type] ?? {}))
            node.widgets.find((widget) => widget.name === key).value = value;
    }
}"""
# What the node has said so far: the state of a moment may be over before a busy page is asked for it.
RECORD_TEXTS = """() => {
    window.rethinkTexts = "";
    new MutationObserver(() => {
        for (const part of document.querySelectorAll(".rethink-line-now, .rethink-numbers"))
            window.rethinkTexts += part.textContent;
    }).observe(document.body, { subtree: true, childList: true });
}"""
SOURCES = "[...document.querySelectorAll('.rethink-four img')].map((image) => image.src)"


@needs_chromium
@pytest.mark.skipif(not EDITOR_FOLDER.exists(), reason="the built-in editor is not trained yet")
def test_losses_and_pictures_are_on_the_node_and_again_after_a_reload(server, page):
    canvas = page.canvas_kind
    page.evaluate("graph => app.loadGraphData(graph)", read_workflow("learn_black_squares", "workflows"))
    page.evaluate(SET, [f"taught/{canvas}", FEW])
    fit_view(page)
    page.evaluate(RECORD_TEXTS)
    page.evaluate("app.queuePrompt(0)")
    page.wait_for_function("document.querySelectorAll('.rethink-four img').length === 8", timeout=180_000)
    shoot(page, f"training-{canvas}-live")
    page.wait_for_selector(".rethink-numbers:has-text('took')", timeout=180_000)
    page.wait_for_function(
        "[...document.querySelectorAll('.rethink-four img[src]')].every((image) => image.naturalWidth)"
    )
    shoot(page, f"training-{canvas}-done")
    assert "★ best" in page.inner_text(".rethink-save") and "of the change" in page.inner_text(".rethink-save")
    assert page.locator(".rethink-dot").count() == 3
    texts = page.evaluate("rethinkTexts")
    assert "pairs encoded" in texts and "left" in texts, "it was told live"

    own = page.locator(".rethink-row", has_text="make the background navy")
    assert own.locator("img[src]").count() == 3 and not own.get_by_text("target").is_visible(), (
        "nobody knows its target"
    )

    before = page.evaluate(SOURCES)
    slider = page.locator(".rethink-slider input")
    place = int(slider.input_value())
    slider.evaluate(
        "(input, value) => { input.value = value; input.dispatchEvent(new Event('input')); }", (place + 1) % 3
    )
    after = page.evaluate(SOURCES)
    assert before[:3] == after[:3] and before[3] != after[3], "the save's edit changes, what it is compared with stays"

    page.locator(".rethink-four").first.click()
    page.wait_for_selector("dialog.rethink-large[open]")
    shoot(page, f"training-{canvas}-large")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog.rethink-large", state="detached")
    if canvas == "classic":  # once is enough: that takes ten seconds
        reload_window(page)
        page.wait_for_selector(".rethink-numbers:has-text('took')", timeout=180_000)
        assert "★ best" in page.inner_text(".rethink-save")
