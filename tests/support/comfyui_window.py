"""ComfyUI's window in a browser: loaded once, which takes longer than most tests, and emptied between them."""

from tests.support.comfyui_server import Server

CANVASES = ["classic", "nodes-2.0"]
LONG = 180_000  # milliseconds: a busy machine takes minutes for what else takes seconds

# The last thing that ComfyUI does before its window is anybody's: it opens the first workflow.
READY = """() => {
    const manager = window.app?.extensionManager;
    return !!manager?.workflow?.activeWorkflow && manager.spinner === false
        && !!LiteGraph.registered_node_types.RethinkThinkWhileEdit;
}"""
# ComfyUI draws at every frame whatever there is; without a graphics card, sixty of them a second take a core for themselves.
FEWER_FRAMES = """
    window.requestAnimationFrame = (draw) => setTimeout(() => draw(performance.now()), 80);
    window.cancelAnimationFrame = clearTimeout;
    addEventListener("DOMContentLoaded", () => {
        const still = new CSSStyleSheet();
        still.replaceSync("*, ::before, ::after { animation: none !important; transition: none !important }");
        document.adoptedStyleSheets.push(still);
    });
"""
# One empty workflow, as it was when the page was loaded.
EMPTY = """async () => {
    const { command, setting, toast, workflow } = app.extensionManager;
    for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
    await command.execute("Comfy.NewBlankWorkflow");
    for (const tab of workflow.openWorkflows.filter((tab) => tab !== workflow.activeWorkflow))
        await workflow.closeWorkflow(tab);
    toast.removeAll();
    if (setting.get("Comfy.ColorPalette") !== "dark") await setting.set("Comfy.ColorPalette", "dark");
    document.activeElement?.blur();
}"""
# The view and all nodes keep their places for as long as it takes to draw them five times.
STILL = """async () => {
    const places = () => JSON.stringify([
        app.canvas.ds.scale, ...app.canvas.ds.offset, app.canvas.graph.nodes.map(({ pos, size }) => [...pos, ...size]),
    ]);
    for (let before = ""; before !== places();) {
        before = places();
        for (let frame = 0; frame < 5; frame++) await new Promise(requestAnimationFrame);
    }
}"""


def open_window(server: Server, browser):
    """A window of its own: the server takes two of them for two clients."""
    page = browser.new_page(viewport={"width": 1600, "height": 1000})
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.add_init_script(FEWER_FRAMES)
    page.goto(server.address)
    wait_until_ready(page)
    return page


def wait_until_ready(page) -> None:
    """Until a page that was loaded can be worked with."""
    page.wait_for_function(READY, timeout=LONG)
    wait_until_still(page)


def reload_window(page) -> None:
    page.reload()
    wait_until_ready(page)


def empty_window(page) -> None:
    """No dialog, no message, and no tab but an empty one."""
    for _ in range(5):
        if not page.locator("[role=dialog]:visible").count():
            break
        page.keyboard.press("Escape")
    page.evaluate(EMPTY)


def wait_until_still(page) -> None:
    page.evaluate(STILL)


def execute_command(page, name: str) -> None:
    """A command of ComfyUI's menus."""
    page.evaluate("name => app.extensionManager.command.execute(name)", name)


def fit_view(page) -> None:
    """Everything is in sight, and stands still."""
    execute_command(page, "Comfy.Canvas.FitView")
    wait_until_still(page)
