"""The pairs on their nodes: the sheet, the plots and their thresholds, on both canvases.

Screenshots go to the folder that the environment variable RETHINK_SCREENSHOTS names, if it is set, to be looked at.
"""

from tests.browsers import needs_chromium, shoot, wait_in_page
from tests.support.comfyui_window import fit_view, reload_window
from tests.support.hosts import read_workflow


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
