"""The question whether images may be sent to a server, in the window of a real ComfyUI.

Screenshots go to the folder that the environment variable RETHINK_SCREENSHOTS names, if it is set, to be looked at.
"""

import json

import pytest

from tests.browsers import needs_chromium, shoot
from tests.comfyui.far_thinker import FAR, far_graph
from tests.comfyui.native_graphs import error_of
from tests.support.comfyui_window import LONG

# What the canvas posts, with a workflow of its own to say whose it is. A program's prompt has none.
QUEUE = """async (prompt) => {
    const { api } = await import('/scripts/api.js');
    const found = await api.queuePrompt(0, { output: prompt, workflow: { id: 'of a stranger' } });
    return found.prompt_id;
}"""


@needs_chromium
@pytest.mark.parametrize("window", ["classic"], indirect=True)
def test_the_page_that_queued_is_asked_and_one_answer_closes_the_question_everywhere(server, page, other_page):
    run = page.evaluate(QUEUE, far_graph())
    dialog = page.get_by_role("dialog", name="Send your images to another machine?")
    dialog.wait_for(timeout=LONG)
    assert FAR in dialog.inner_text() and page.evaluate("document.activeElement.textContent") == "No"
    shoot(page, "question")
    assert other_page.get_by_role("dialog").count() == 0, "somebody else at this ComfyUI"
    other_page.reload()  # now it may be the same person's
    other_page.get_by_role("dialog").wait_for(timeout=LONG)
    page.keyboard.press("Escape")
    assert "is not this machine" in error_of(server.wait(run))
    for window in (page, other_page):
        window.get_by_role("dialog", name="Send your images to another machine?").wait_for(
            state="detached", timeout=LONG
        )
    assert json.loads(server.get("/rethink/hosts")) == []
