"""A node and a command that do the same job put it together once: the same settings make the same ids, files and scores, and
both show the limits, defaults and help of the job's fields."""

import json
import shutil

import pytest
from PIL import Image

from tests.support.editor_miniatures import as_diffusers, factors, write_lora
from tests.support.miniatures import INSTRUCT, PLAIN, QUICK, write_clip, write_folder
from tests.support.pairs import draw_image
from tests.support.servers import completion, openai_server

ANSWERS = {  # by what is in the question
    "Find signs": '{"places": [{"box": [100, 100, 500, 500], "place": "a sign"}]}',
    "original of that part": '{"place": "the sign", "description": "It says STOP."}',
    "in other words": "Do the same once more.",
    "careful editor": '{"score": 7, "why": "well done"}',
    "%%": "make it so\n%%\nanother thing",
}


@pytest.fixture
def photos(results):
    folder = results.input / "photos"
    folder.mkdir()
    for index in range(3):
        Image.fromarray(draw_image(seed=index)).save(folder / f"photo {index}.png")
    return folder


@pytest.fixture
def masks(results, photos):
    folder = results.input / "masks"
    folder.mkdir()
    white = Image.new("L", (160, 120))
    white.paste(255, (20, 30, 90, 80))
    for index in (0, 2):
        white.save(folder / f"photo {index}.png")
    return folder


@pytest.fixture
def server():
    def answer(body):
        question = json.dumps(body["messages"])
        return 200, completion(next(said for part, said in ANSWERS.items() if part in question)), {}

    with openai_server() as server:
        server.replies = [answer]
        yield server


@pytest.fixture
def thinker(classes, server):
    at = {"base_url": server.url, "model": "seer", "key_variable": "", "timeout": 120, "retries": 0, "concurrency": 1}
    return classes["RethinkLoadThinker"].execute({"backend": "server", **at}).result[0]


@pytest.fixture
def command(part, tmp_path, server):
    """Runs a command on one process, with the thinker on the server where it asks for one."""

    def run(*arguments, thinker=False):
        asks = ["--thinker", server.url, "--model", "seer", "--concurrency", "1"] if thinker else []
        assert part("rethink.cli.main").main([*map(str, arguments), *asks, "--workers", "1"]) == 0

    return run


@pytest.fixture
def node(classes, models, monkeypatch):
    """Runs a node on one process."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    return lambda name, *args, **inputs: classes[f"Rethink{name}"].execute(*args, **inputs)


@pytest.fixture
def synthesize(node, photos):
    def run(operation="cover", options=None, masks="none", **inputs):
        inputs = {"dataset": "pairs", "pairs": 2, "seed": 7, **inputs}
        lists = {name: [value] for name, value in inputs.items()}
        choice = {"operation": [operation], **{name: [value] for name, value in (options or {}).items()}}
        pictures = {"pictures": ["folder"], "folder": ["input/photos"], "masks": [masks]}
        return node("InverseEditSynthesizer", choice, pictures, **lists).result

    return run


def files(folder):
    """All that a store says, without where and when: {name: bytes}."""
    lines = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in lines}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def assert_same(one, other):
    assert files(one).keys() == files(other).keys()
    differing = [name for name, data in files(one).items() if files(other)[name] != data]
    assert not differing, differing
    assert lines(one / "manifest.jsonl")


@pytest.mark.parametrize(
    ("operation", "options", "flags"),
    [
        ("any", {}, []),
        ("cover", {}, ["--operations", "cover"]),
        ("cover", {"fill": "black"}, ["--operations", "cover", "--set", "cover.fill=black"]),
        (
            "pixelate",
            {"lowest_blocks": 9, "highest_blocks": 9},
            ["--operations", "pixelate", "--set", "pixelate.blocks=9"],
        ),
        (
            "blur",
            {"lowest_strength": 0.5, "highest_strength": 1.0},
            ["--operations", "blur", "--set", "blur.strength=0.5,1"],
        ),
    ],
)
def test_synthesis(synthesize, command, photos, models, tmp_path, operation, options, flags):
    synthesize(operation, options)
    command("synthesize", photos, tmp_path / "pairs", "--pairs", 2, "--seed", 7, *flags)
    assert_same(models.datasets / "pairs", tmp_path / "pairs")


def test_synthesis_with_masks_words_and_templates(synthesize, command, photos, masks, models, tmp_path):
    words = {"place": " the wall ", "description": "It is red.", "templates": "wipe {thing} off {place}\n\n"}
    synthesize(masks="input/masks", smallest=0.05, largest=0.3, longest_side=100, **words)
    (tmp_path / "templates.json").write_text(json.dumps({"cover": ["wipe {thing} off {place}"]}))
    flags = ["--masks", masks, "--area", 0.05, 0.3, "--longest-side", 100, "--templates", tmp_path / "templates.json"]
    words = ["--place", "the wall", "--hidden", "It is red."]
    command(
        "synthesize",
        photos,
        tmp_path / "pairs",
        *("--operations", "cover", "--pairs", 2, "--seed", 7),
        *flags,
        *words,
    )
    assert_same(models.datasets / "pairs", tmp_path / "pairs")


@pytest.mark.parametrize(
    ("inputs", "flags"),
    [
        ({}, []),
        ({"find": "signs"}, ["--find", "signs"]),
        ({"find": "signs", "paraphrase": True}, ["--find", "signs", "--paraphrase"]),
    ],
)
def test_synthesis_with_a_thinker(synthesize, command, thinker, photos, models, tmp_path, inputs, flags):
    pairs, _ = synthesize(thinker=thinker, **inputs)
    assert {pair.description for pair in pairs} == {"It says STOP."}
    command(
        "synthesize",
        photos,
        tmp_path / "pairs",
        *("--operations", "cover", "--pairs", 2, "--seed", 7),
        *flags,
        thinker=True,
    )
    assert_same(models.datasets / "pairs", tmp_path / "pairs")


@pytest.mark.parametrize("strengths", [[], [0.5, 1]])
def test_synthesis_by_an_editor(synthesize, command, classes, photos, masks, models, tmp_path, strengths):
    folder = write_folder(models.diffusers / "mini", INSTRUCT)
    (folder / "rethink.json").write_text('{"steps": 1}')
    (editor,) = classes["RethinkLoadEditor"].execute("mini", "fp32", "none").result
    lora = write_lora(as_diffusers(factors(editor)), models.loras)
    for strength in strengths:
        editor, _ = classes["RethinkEditLoraLoader"].execute(editor, lora.name, strength).result
    loras = [text for strength in strengths for text in ("--lora", f"{lora}:{strength}")]
    synthesize("editor", {"editor": editor, "inverse": "remove the hat"}, "input/masks", description="A red hat.")
    flags = ["--editor", folder, "--inverse", "remove the hat", "--hidden", "A red hat.", "--masks", masks]
    flags += ["--dtype", "fp32", *loras]
    command("synthesize", photos, tmp_path / "pairs", "--pairs", 2, "--seed", 7, *flags)
    assert_same(models.datasets / "pairs", tmp_path / "pairs")


def test_a_command_goes_on_with_what_a_node_has_begun(synthesize, command, photos, models, capsys):
    synthesize(pairs=1)
    command("synthesize", photos, models.datasets / "pairs", "--operations", "cover", "--pairs", 3, "--seed", 7)
    assert "6 pairs made, 0 skipped" in capsys.readouterr().out
    assert synthesize(pairs=3)[1].startswith("9 pairs, 0 made now")


def test_a_command_says_what_another_seed_has_left(synthesize, command, photos, models, capsys):
    synthesize(pairs=1)
    command("synthesize", photos, models.datasets / "pairs", "--operations", "cover", "--seed", 8)
    said = capsys.readouterr().out
    assert "3 pairs of the same kind were made with seed 7; to continue with them, use that seed." in said


def test_captions(node, command, thinker, results, models, tmp_path):
    captions = "a street\na dog\na cat\n"
    examples = "an owl | make it blue | a blue owl"
    node("CaptionToEdit", thinker, captions, dataset="edits", seed=3, examples=examples)
    (tmp_path / "captions.txt").write_text(captions)
    (tmp_path / "triples.jsonl").write_text('{"input": "an owl", "edit": "make it blue", "output": "a blue owl"}\n')
    edits, flags = tmp_path / "edits.jsonl", ["--triples", tmp_path / "triples.jsonl", "--seed", 3]
    command("caption-edits", tmp_path / "captions.txt", edits, *flags, thinker=True)
    command("caption-edits", "-", "-", *flags, "--fine-tuning", tmp_path / "fine-tuning.jsonl")
    for name in ("edits.jsonl", "fine-tuning.jsonl"):
        assert (models.datasets / "edits" / name).read_bytes() == (tmp_path / name).read_bytes()
    assert len(lines(edits)) == 3


@pytest.fixture
def drawing(classes, models, monkeypatch):
    """(the editor's folder, the CLIP's, the editor as a node gives it)."""
    monkeypatch.setattr(
        "torch.cpu.get_capabilities", dict, raising=False
    )  # or the command draws in bf16, which is faster
    folder, clip = write_folder(models.diffusers / "plain", PLAIN), write_clip(models.clip_vision / "clip")
    return folder, clip, classes["RethinkLoadEditor"].execute("plain", "auto", "none").result[0]


@pytest.mark.parametrize(
    ("method", "weights", "drop_early", "flags"),
    [
        ("self-attention", None, True, ["--lora", "LORA"]),
        ("replace", "blue: 2, make: 0.5", False, ["--method", "replace", "--weights", "blue:2", "make:0.5", "--looks"]),
    ],
)
def test_prompt_to_prompt(
    node, command, classes, drawing, results, models, tmp_path, method, weights, drop_early, flags
):
    folder, clip, editor = drawing
    if "LORA" in flags:
        lora = write_lora(as_diffusers(factors(editor)), models.loras)
        editor, _ = classes["RethinkEditLoraLoader"].execute(editor, lora.name, 1.0).result
        flags = ["--lora", lora]
    texts = {"caption": "the red make", "instruction": "make it blue", "edited_caption": "the blue make"}
    inputs = {**QUICK, **texts, "clip": "clip", "dataset": "pairs", "seed": 5, "caption_fit": -1.0}
    choice = {"method": [method], **({"weights": [weights]} if weights else {})}
    lists = {name: [value] for name, value in {**inputs, "editor": editor, "drop_early": drop_early}.items()}
    node("PromptToPromptPairs", method=choice, **lists)
    edit = dict(zip(("input", "edit", "output"), texts.values()))
    (tmp_path / "edits.jsonl").write_text(json.dumps(edit) + "\n")
    chosen = [text for name, value in QUICK.items() if name != "caption_fit" for text in (f"--{name}", value)]
    models_of = ["--sd", folder, "--clip", clip, "--caption", -1, "--seed", 5]
    command("p2p", tmp_path / "edits.jsonl", tmp_path / "pairs", *models_of, *chosen, *flags)
    one, other = models.datasets / "pairs", tmp_path / "pairs"
    for store in (one, other):  # how long it took is no part of it
        drawn_lines = [{**record, "seconds": 0} for record in lines(store / "drawn.jsonl")]
        (store / "drawn.jsonl").write_text(json.dumps(drawn_lines))
    assert_same(one, other)


def test_filter(synthesize, node, command, thinker, models, tmp_path):
    pairs, _ = synthesize("any", pairs=4)
    shutil.copytree(models.datasets / "pairs", tmp_path / "pairs")
    clip = write_clip(models.clip_vision / "clip")
    accepted, rejected, _ = node(
        "FilterEditPairs", pairs, "clip", thinker, image=0.2, changed=0.1, duplicates=-1
    ).result
    flags = ["--clip", clip, "--image", 0.2, "--changed", 0.1, "--duplicates", -1]
    command("filter", tmp_path / "pairs", *flags, thinker=True)
    assert_same(models.datasets / "pairs", tmp_path / "pairs")
    (record, *_) = lines(tmp_path / "pairs/scores.jsonl")[-1:]
    assert record["clip"] == "clip" and record["critic_name"] == "seer" and accepted.subset and rejected.subset


def test_the_built_in_clip_has_one_name(synthesize, node, command, models, results, tmp_path):
    pairs, _ = synthesize(pairs=1)
    shutil.copytree(models.datasets / "pairs", tmp_path / "pairs")
    node("FilterEditPairs", pairs, "built-in")
    command("filter", tmp_path / "pairs", "--clip", "built-in")
    assert_same(models.datasets / "pairs", tmp_path / "pairs")
