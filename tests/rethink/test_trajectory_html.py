"""A run as one HTML file, and what a reader of it sees and does, in a real browser."""

import base64
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from rethink.errors import RethinkError
from rethink.steps import Region
from rethink.trajectory import Trajectory
from rethink.trajectory_html import VIEWER, page_name, write_html
from tests.browsers import needs_chromium, see, shoot, wait_in_page
from tests.support.run_pages import SELECTED, opened
from tests.support.runs import made_up_run

STRIP, OPTION = "[role=listbox]", "[role=option]"
EDGES = "drawn => (({ left, top, right, bottom }) => [left, top, right, bottom])(drawn.getBoundingClientRect())"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return made_up_run(tmp_path_factory.mktemp("run") / "run", turns=4, candidates=2)


@pytest.fixture(scope="module")
def html(run):
    path = run.folder.with_suffix(".html")
    write_html(run, path)
    return path


def test_the_file_holds_the_record_and_every_picture_bit_for_bit(run, html):
    text = html.read_text(encoding="utf-8")
    pictures = dict(re.findall(r'<script type="text/plain" id="([\w.-]+)">data:image/png;base64,([\w+/=]+)<', text))
    assert set(pictures) == {"source.png", *(step.file for step in run.steps)}
    for name, data in pictures.items():
        assert base64.b64decode(data) == (run.folder / name).read_bytes()
    found = re.search(r'<script type="application/json" id="trajectory">(.*?)</script>', text, re.DOTALL)
    assert json.loads(found[1]) == json.loads((run.folder / "trajectory.json").read_text(encoding="utf-8"))
    assert not re.search(r'(src|href|url\()\s*=?\s*["\']?(https?:)?//', text), "something would be fetched"


def test_every_module_of_the_view_is_inside_once(html):
    text = html.read_text(encoding="utf-8")
    assert not re.search(r"^(import|export) ", text, re.MULTILINE)
    names = r"^(?:export )?(?:async )?(?:class|function\*?|const|let) (\w+)"
    inside = re.findall(names, text, re.MULTILINE)
    assert len(inside) == len(set(inside)), "two modules use a name for different things"
    for module in VIEWER.glob("*.mjs"):
        assert set(re.findall(names, module.read_text(encoding="utf-8"), re.MULTILINE)) <= set(inside), module.name


def test_a_file_that_cannot_be_written_is_one_sentence(run, tmp_path):
    with pytest.raises(RethinkError, match="html: .*run.html cannot be written: No such file or directory$"):
        write_html(run, tmp_path / "missing" / "run.html")
    gone = run.copy_to(tmp_path / "gone")
    for name in ("turn-0003-00.png", "trajectory.json"):  # what it says is in memory, its pictures are not
        (gone.folder / name).unlink()
    with pytest.raises(RethinkError, match="turn-0003-00.png"):
        write_html(gone, tmp_path / "run.html")
    assert {path.name for path in tmp_path.iterdir()} == {"gone"}, "nothing half written is left"


@pytest.fixture
def page(browser, html):
    page = opened(browser, html)
    yield page
    page.close()
    assert page.problems == []


def mode(page):
    return page.locator(".rt-stage").get_attribute("data-mode")


@needs_chromium
def test_it_opens_on_the_best_turn_and_asks_for_nothing(page, run):
    best = run.steps[run.best]
    assert page.locator("h2").inner_text() == f"Turn {best.turn}"
    assert page.locator(f"{SELECTED} .rt-star").count() == page.locator(".rt-star").count() == 1
    assert page.locator("h1").inner_text() == run.instruction
    assert [mark.inner_text() for mark in page.locator(f"{SELECTED} ins").all()] != []
    assert all(url.startswith(("file:", "data:")) for url in page.asked)


@needs_chromium
def test_what_changed_far_into_a_long_prompt_is_in_sight(browser, tmp_path):
    run = made_up_run(tmp_path / "run", turns=1, stopped="")
    (step,) = run.steps
    kept = "make the small circle at the top left of the picture red and leave all else as it is, " * 4
    for turn, end in ((2, "please"), (3, "with its shadow too")):
        run = run.append_step(replace(step, turn=turn, prompt=kept + end, image=run.image(step)))
    write_html(run, tmp_path / "run.html")
    page = opened(browser, tmp_path / "run.html")
    frame = page.locator(f"{OPTION}[aria-posinset='3']")
    (mark,), shown = frame.locator("ins").all(), frame.bounding_box()
    assert mark.inner_text() == "with its shadow too" and "…" in frame.locator(".rt-prompt").inner_text()
    assert mark.bounding_box()["y"] + mark.bounding_box()["height"] < shown["y"] + shown["height"]
    assert (kept + "with its shadow too") in frame.get_attribute("aria-label"), "who does not see it hears all of it"
    page.close()


@needs_chromium
def test_keys_do_what_they_say(page, run):
    best = run.steps[run.best]
    page.keyboard.press("Home")
    assert page.locator("h2").inner_text() == "Turn 1"
    page.keyboard.press("ArrowRight")
    assert page.locator("h2").inner_text() == "Turn 2"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert page.locator(".rt-label-result").inner_text() == "Turn 2, candidate 1"
    page.keyboard.press("ArrowDown")
    assert page.locator(".rt-label-result").inner_text() == "Turn 2, candidate 2"
    for key, expected in ((" ", "source"), (" ", "result"), ("d", "difference"), ("d", "result"), ("c", "compare")):
        page.keyboard.press(key)
        assert mode(page) == expected
    page.keyboard.press("f")
    page.wait_for_function("document.fullscreenElement")
    page.evaluate("document.exitFullscreen()")
    page.get_by_role("button", name="Difference").click()  # the mouse leaves the keys where they were
    page.keyboard.press("End")
    assert mode(page) == "difference" and page.locator("h2").inner_text() == f"Turn {run.steps[-1].turn}"
    assert best.turn <= run.steps[-1].turn


@needs_chromium
@pytest.mark.parametrize(("key", "scale"), [("1", 1), ("0", 4)])
def test_a_pixel_is_a_whole_number_of_pixels(page, run, key, scale):
    page.keyboard.press(" ")
    page.keyboard.press(" ")
    page.keyboard.press(key)
    wait_in_page(page, 200)
    assert page.locator(".rt-scale").inner_text() == f"{scale * 100} %"
    corner = page.locator(".rt-plane").bounding_box()
    shown = np.asarray(see(page, f"pixels-{scale}"))
    left, top = round(corner["x"]), round(corner["y"])
    assert (left, top) == pytest.approx((corner["x"], corner["y"]), abs=0.02)
    truth = np.asarray(Image.open(run.folder / run.steps[run.best].file)).repeat(scale, 0).repeat(scale, 1)
    height, width = truth.shape[:2]
    assert np.array_equal(shown[top : top + height, left : left + width], truth)


@needs_chromium
def test_the_difference_map_is_gray_where_nothing_changed(page, run):
    page.keyboard.press("d")
    wait_in_page(page, 200)
    shoot(page, "difference")
    shown = np.asarray(
        page.evaluate("""() => {
            const canvas = document.querySelector('.rt-stage canvas');
            return [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data];
        }""")
    ).reshape(128, 128, 4)[..., :3]
    pictures = [np.asarray(Image.open(run.folder / name), int) for name in ("source.png", run.steps[run.best].file)]
    moved = np.abs(pictures[0] - pictures[1]).max(-1)
    gray = (shown == shown[..., :1]).all(-1)
    assert moved.max() > 64 and gray[moved == 0].all() and not gray[moved > 2].any()
    assert shown[moved == 0].max() < shown[moved >= 64].min(), "what changed is brighter, for eyes that see no hues"


@needs_chromium
def test_a_screen_reader_is_told(page, run):
    strip = page.locator(STRIP)
    active = page.locator(f"#{strip.get_attribute('aria-activedescendant')}")
    label = active.get_attribute("aria-label")
    step = run.steps[run.best]
    assert f"Turn {step.turn}" in label and "best" in label and step.prompt in label and "semantic" in label
    assert (active.get_attribute("aria-setsize"), active.get_attribute("aria-posinset")) == ("4", str(step.turn))
    nameless = "[...document.querySelectorAll('button')].filter(b => b.checkVisibility() && !b.ariaLabel && !b.innerText.trim()).length"
    assert page.evaluate(nameless) == 0
    read = strip.aria_snapshot()
    assert read.count('option "Turn') == 4 and "Source" not in read, "a list of turns, and of nothing else"
    page.keyboard.press("ArrowLeft")
    assert strip.get_attribute("aria-activedescendant").endswith(f"-{step.turn - 1}")


@needs_chromium
@pytest.mark.parametrize(("theme", "dark"), [("light", False), ("dark", True)])
def test_it_follows_the_theme(browser, html, theme, dark):
    page = opened(browser, html, color_scheme=theme)
    screen = see(page, f"html-{theme}").convert("L")
    assert (np.asarray(screen).mean() < 100) == dark
    page.close()


@needs_chromium
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_on_a_phone_everything_is_below_each_other_and_nothing_is_cut_off(browser, html, theme):
    page = opened(browser, html, color_scheme=theme, viewport={"width": 390, "height": 844})
    shoot(page, f"html-phone-{theme}")
    cut = """() => [document.documentElement, ...document.querySelectorAll('h1, .rt-panel, .rt-modes')]
        .filter((part) => part.scrollWidth > part.clientWidth || part.tagName != 'HTML' && part.scrollHeight > part.clientHeight)
        .map((part) => part.className)"""
    assert page.evaluate(cut) == []
    tops = [page.locator(part).bounding_box()["y"] for part in (".rt-stage", STRIP, ".rt-panel", ".rt-facts")]
    assert tops == sorted(tops) and not page.locator(".rt-keys").is_visible()
    page.get_by_role("button", name="Difference").click()
    legend, zoom = (page.locator(part).bounding_box() for part in (".rt-legend", ".rt-zoom"))
    assert legend["y"] + legend["height"] <= zoom["y"] and legend["x"] + legend["width"] <= 390
    shoot(page, f"html-phone-legend-{theme}")
    page.close()
    assert page.problems == []


@needs_chromium
def test_frames_grow_with_the_strip_and_their_pictures_fill_them(page):
    frame, picture = page.locator(".rt-frame").first, page.locator(".rt-frame .rt-thumb").first
    assert frame.bounding_box()["width"] == 156
    for height, width in ((320, 242), (800, 603)):  # two lines of prompt are left; then two frames are in sight
        page.evaluate("height => { document.querySelector('.rt-track').style.height = `${height}px`; }", height)
        page.wait_for_function("width => document.querySelector('.rt-frame').offsetWidth === width", arg=width)
        box = picture.bounding_box()
        assert box["height"] == pytest.approx(box["width"], abs=4)
        assert page.locator(f"{SELECTED} .rt-prompt").bounding_box()["y"] > box["y"] + box["height"]
    assert page.locator(SELECTED).is_visible()


@needs_chromium
def test_a_strip_that_was_out_of_sight_comes_back_with_its_turn(browser, html):
    page = opened(browser, html, viewport={"width": 390, "height": 844})
    page.keyboard.press("Home")
    show = "display => { document.querySelector('.rt-strip').style.display = display; }"
    page.evaluate(show, "none")
    page.locator(".rt-panel").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    wait_in_page(page, 200)
    page.evaluate(show, "block")
    wait_in_page(page, 200)
    box = page.locator(SELECTED).bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    page.close()


@needs_chromium
def test_a_frame_says_all_there_is_to_say_of_it(browser, html, tmp_path):
    same = tmp_path / "same.html"
    same.write_text(
        html.read_text(encoding="utf-8").replace('"unchanged": false', '"unchanged": true'), encoding="utf-8"
    )
    page = opened(browser, same)
    marks = page.locator("[role=option][aria-posinset='1'] .rt-chips span")
    assert marks.all_inner_texts() == ["nothing changed", "2 candidates"]
    upper, lower = (mark.bounding_box() for mark in marks.all())
    assert upper["y"] + upper["height"] <= lower["y"]
    frame = page.locator("[role=option][aria-posinset='1']")
    assert "nothing changed" in frame.get_attribute("aria-label")
    struck = frame.locator(".rt-meter").first.evaluate("meter => getComputedStyle(meter).textDecorationLine")
    assert struck == "line-through", "scores that do not count"
    page.close()


@needs_chromium
def test_boxes_lie_where_they_point_each_with_its_words(browser, tmp_path):
    run = made_up_run(tmp_path / "run", turns=1, stopped="")
    (step,) = run.steps
    regions = (Region("wrong", (0.25, 0.5, 0.75, 0.875), "the <b>hat"), Region("place", (0.0, 0.125, 0.5, 0.25)))
    pointed = replace(step, turn=2, score=9.0, critique=replace(step.critique, regions=regions), image=run.image(step))
    write_html(run.append_step(replace(pointed, file="")), tmp_path / "run.html")
    page = opened(browser, tmp_path / "run.html")
    image = page.locator(".rt-plane").bounding_box()
    frames, labels = page.locator(".rt-plane rect.rt-region").all(), page.locator(".rt-region-label").all()
    assert [label.inner_text() for label in labels] == ["still wrong: the <b>hat", "place of the edit"]
    for region, frame, label in zip(regions, frames, labels, strict=True):
        x0, y0, x1, y1 = region.box
        (left, right), (top, bottom) = (
            [image[start] + share * image[length] for share in shares]
            for start, length, shares in (("x", "width", (x0, x1)), ("y", "height", (y0, y1)))
        )
        assert frame.evaluate(EDGES) == pytest.approx([left, top, right, bottom], abs=2)
        corner = label.bounding_box()
        assert (corner["x"], corner["y"]) == pytest.approx((left, top), abs=2)
        assert f"rt-region-{region.kind}" in frame.get_attribute("class")
    shoot(page, "boxes")
    page.keyboard.press("b")
    assert not any(shown.is_visible() for shown in (*frames, *labels))
    page.keyboard.press("b")
    page.keyboard.press("Home")
    assert page.locator(".rt-plane rect.rt-region").count() == 0, "the first turn has none"
    page.close()
    assert page.problems == []


@needs_chromium
def test_many_turns_keep_the_page_small(browser, tmp_path):
    long = made_up_run(tmp_path / "long", turns=60)
    write_html(long, tmp_path / "long.html")
    page = opened(browser, tmp_path / "long.html")
    counts = []
    for key in ("Home", *["ArrowRight"] * 30, "End"):
        page.keyboard.press(key)
        counts.append(page.locator(".rt-frame").count())
    assert page.locator("h2").inner_text() == "Turn 60" and page.locator(SELECTED).is_visible()
    assert max(counts) < 20
    shoot(page, "long")
    page.close()
    assert page.problems == []


@needs_chromium
def test_the_pressed_turn_is_chosen_even_if_the_frames_move_meanwhile(browser, tmp_path):
    long = made_up_run(tmp_path / "long", turns=60)
    write_html(long, tmp_path / "long.html")
    page = opened(browser, tmp_path / "long.html", viewport={"width": 1100, "height": 844})
    page.keyboard.press("Home")

    def press(turn, scroll, move):
        box = page.locator(f"[aria-posinset='{turn}']").bounding_box()
        x, y = box["x"] + box["width"] - 10, box["y"] + 20
        page.mouse.move(x, y)
        page.mouse.down()
        page.evaluate("by => { document.querySelector('.rt-strip').scrollLeft += by; }", scroll)
        page.mouse.move(x + move, y)
        page.mouse.up()
        return page.locator("h2").inner_text()

    assert press(2, scroll=60, move=0) == "Turn 2"
    assert press(3, scroll=-160, move=0) == "Turn 3"
    assert press(2, scroll=60, move=20) == "Turn 3", "who drags to another frame chooses none"
    page.close()
    assert page.problems == []


def test_a_link_to_a_file_elsewhere_goes_into_no_page(run, tmp_path):
    copy = run.copy_to(tmp_path / "copy")
    (tmp_path / "secret").write_text("a key")
    for name in ("source.png", copy.steps[0].file):
        (copy.folder / name).unlink()
        (copy.folder / name).symlink_to(tmp_path / "secret")
        with pytest.raises(RethinkError, match="not a file in its folder"):
            write_html(copy, tmp_path / "run.html")
    (copy.folder / "source.png").unlink()
    (copy.folder / "source.png").write_text("a key")
    with pytest.raises(RethinkError, match="not a PNG"):
        write_html(copy, tmp_path / "run.html")
    assert not (tmp_path / "run.html").exists()


@pytest.mark.parametrize(
    ("folder", "instruction", "name"),
    [
        ("thinking_00001_", "make it snow", "thinking_00001 make it snow.html"),
        ("run", "a/b: “c”\nd?", "run a b “c” d.html"),
        ("run", "../../etc/passwd", "run … … etc passwd.html"),
        ("run", "\ud83d\0", "run.html"),
        ("run", "把它变成冬天 " * 40, f"run {('把它变成冬天 ' * 40)[:34].strip()}.html"),
    ],
)
def test_a_page_is_named_after_its_run(tmp_path, folder, instruction, name):
    assert page_name(Trajectory(tmp_path / folder, instruction, {})) == name
