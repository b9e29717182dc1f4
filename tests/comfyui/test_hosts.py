"""The question whether images may be sent to a server, in the window of a real ComfyUI.

Screenshots go to the folder that the environment variable RETHINK_SCREENSHOTS names, if it is set, to be looked at.
"""

import json

from tests.browsers import needs_chromium, shoot
from tests.comfyui.test_thinking import FAR, far_graph, why

READY = "!!(window.app?.graph && window.LiteGraph?.registered_node_types?.RethinkLoadThinker)"
# What the canvas posts, with a workflow of its own to say whose it is. A program's prompt has none.
QUEUE = """async (prompt) => {
    const { api } = await import('/scripts/api.js');
    const found = await api.queuePrompt(0, { output: prompt, workflow: { id: 'of a stranger' } });
    return found.prompt_id;
}"""


@needs_chromium
def test_the_page_that_queued_is_asked_and_one_answer_closes_the_question_everywhere(server, browser):
    server.post("/settings/Comfy.TutorialCompleted", True)
    bystander, page = open_window(server, browser), open_window(server, browser)
    run = page.evaluate(QUEUE, far_graph())
    dialog = page.get_by_role("dialog", name="Send your images to another machine?")
    dialog.wait_for(timeout=180_000)
    assert FAR in dialog.inner_text() and page.evaluate("document.activeElement.textContent") == "No"
    shoot(page, "question")
    assert bystander.get_by_role("dialog").count() == 0, "somebody else at this ComfyUI"
    later = open_window(server, browser)  # it may be the same person's, after a reload
    later.get_by_role("dialog").wait_for(timeout=180_000)
    page.keyboard.press("Escape")
    assert "is not this machine" in why(server.wait(run))
    for window in (page, later):
        window.get_by_role("dialog", name="Send your images to another machine?").wait_for(
            state="detached", timeout=180_000
        )
    assert json.loads(server.get("/rethink/hosts")) == []
    for window in (bystander, page, later):
        window.close()


def open_window(server, browser):
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(server.address)
    page.wait_for_function(READY, timeout=180_000)
    page.wait_for_timeout(500)
    return page
