"""The command line of the pairs, from a folder of photographs to an exported dataset."""

import json
import os
import subprocess
import sys

import pytest
from PIL import Image

from rethink.cli import progress
from rethink.cli.main import main
from rethink.pairs.store import JsonlLog, PairStore
from tests.support.hosts import PACK_ROOT
from tests.support.miniatures import PLAIN, write_folder
from tests.support.pairs import draw_image
from tests.support.servers import completion, openai_server
from tests.support.waiting import wait_until


def rethink(*arguments):
    return main([str(argument) for argument in arguments])


def test_from_photographs_to_a_dataset(folder, tmp_path, capsys):
    store = tmp_path / "my pairs"
    (folder / "broken.jpg").write_bytes(b"x")
    assert rethink("synthesize", folder, store, "--pairs", 2, "--workers", 1, "--operations", "cover", "weather") == 0
    assert "12 pairs made, 1 skipped" in capsys.readouterr().out
    assert rethink("synthesize", folder, store, "--pairs", 2, "--workers", 1, "--operations", "cover", "weather") == 0
    assert "0 pairs made" in capsys.readouterr().out
    assert rethink("filter", store, "--duplicates", -1, "--largest-region", 0.5, "--workers", 1) == 0
    assert "pairs accepted" in capsys.readouterr().out
    assert rethink("inspect", store, "--histogram", "changed", "--check") == 0
    told = capsys.readouterr().out
    assert "12 pairs" in told and "weather" in told and "█" in told and "cannot be read" in told
    assert rethink("export", store, "imagefolder", tmp_path / "out") == 0
    assert "TARGET" in capsys.readouterr().out
    assert rethink("import", tmp_path / "out", "imagefolder", tmp_path / "again") == 0
    assert (store / "README.md").is_file() and (tmp_path / "again/contact-sheet.jpg").is_file()
    victim = next(iter(PairStore(store)))
    (store / victim.input).write_bytes(b"torn")
    assert rethink("inspect", store, "--check") == 1
    assert victim.input in capsys.readouterr().err


def test_parameters_boxes_templates_and_a_config_file(folder, tmp_path, capsys):
    (tmp_path / "boxes.json").write_text(json.dumps({"photo 0.png": [{"box": [0, 0, 0.5, 0.5], "place": "the sky"}]}))
    (tmp_path / "words.json").write_text(json.dumps({"cover": ["wipe {thing} off {place}", "wipe {thing}"]}))
    config = {
        "operations": ["cover"],
        "set": ["cover.fill=black", "cover.shape=ellipse,square"],
        "boxes": str(tmp_path / "boxes.json"),
        "templates": str(tmp_path / "words.json"),
        "workers": 1,
        "seed": 4,
    }
    (tmp_path / "run.json").write_text(json.dumps(config))
    assert rethink("synthesize", folder, tmp_path / "s", "--config", tmp_path / "run.json", "--pairs", 3) == 0
    made = list(PairStore(tmp_path / "s"))
    assert len(made) == 18 and {pair.parameters["fill"] for pair in made} == {"black"}
    assert {pair.parameters["shape"] for pair in made} == {"ellipse", "square"}
    assert all("wipe black" in pair.instruction.lower() for pair in made)
    assert all("the sky" in pair.instruction for pair in made if pair.source == "photo 0.png")


def test_masks_and_boxes_that_were_not_used_are_named_before_the_work(folder, tmp_path, capsys):
    masks, boxes = tmp_path / "masks", tmp_path / "boxes.json"
    masks.mkdir()
    for name in ("PHOTO 0.jpeg", "photo 9.png"):
        Image.fromarray(draw_image()).save(masks / name)
    boxes.write_text(json.dumps({"photo 1": [{"box": [0, 0, 0.5, 0.5]}], "foto 2.png": [{"box": [0, 0, 0.5, 0.5]}]}))
    options = ["--masks", masks, "--boxes", boxes, "--operations", "blur", "--workers", 1]
    assert rethink("synthesize", folder, tmp_path / "store", *options) == 0
    said = capsys.readouterr().out
    assert said.startswith("6 images: 1 with a mask, 1 with boxes, 4 with neither: photo 2.png, photo 3.png, ")
    assert "1 mask matches no image: photo 9.png." in said and "or several: foto 2.png." in said


def test_an_editor_does_the_inverse(folder, tmp_path):
    editor = write_folder(tmp_path / "editor", "StableDiffusionInstructPix2PixPipeline")
    (editor / "rethink.json").write_text('{"steps": 1}')
    for photo in list(folder.iterdir())[2:]:
        photo.unlink()
    assert (
        rethink(
            "synthesize",
            folder,
            tmp_path / "s",
            "--editor",
            editor,
            "--inverse",
            "remove the hat",
            "--hidden",
            "A red hat",
        )
        == 0
    )
    assert (
        all(pair.instruction.endswith("A red hat.") for pair in PairStore(tmp_path / "s"))
        and len(list(PairStore(tmp_path / "s"))) == 2
    )


def test_own_words_for_every_pair(folder, tmp_path):
    words = "--place", "the man's face", "--hidden", "He has brown hair"
    assert rethink("synthesize", folder, tmp_path / "s", "--operations", "cover", "--workers", 1, *words) == 0
    assert all(
        "the man's face" in p.instruction and p.instruction.endswith(" He has brown hair.")
        for p in PairStore(tmp_path / "s")
    )


def test_captions_to_pairs(tmp_path, capsys, clip_folder):
    (tmp_path / "captions.txt").write_text("the red\nthe make\n")
    edits = "caption-edits", tmp_path / "captions.txt", tmp_path / "edits.jsonl"
    with openai_server() as server:
        server.replies = [(200, completion(text), {}) for text in ("make it so\n%%\nthe make red", "no")]
        assert rethink(*edits, "--thinker", server.url, "--model", "m", "--workers", 1, "--concurrency", 1) == 0
    assert "1 edit made, 1 rejected" in capsys.readouterr().out
    sd = write_folder(tmp_path / "sd", PLAIN)
    flags = [
        "--sd",
        sd,
        "--clip",
        clip_folder,
        "--steps",
        2,
        "--candidates",
        3,
        "--batch",
        2,
        "--image",
        -1,
        "--caption",
        -1,
        "--direction",
        -1,
        "--best",
        2,
        "--sampler",
        "ddim",
        "--looks",
        "1:0.1:0.1:0.1",
    ]
    assert rethink("p2p", tmp_path / "edits.jsonl", tmp_path / "s", *flags) == 0
    told = capsys.readouterr().out
    assert "2 pairs of 3 candidates" in told and "estimated loss of good ones" in told
    assert rethink("p2p", tmp_path / "edits.jsonl", tmp_path / "s", *flags) == 0
    assert "0 pairs of 0 candidates" in capsys.readouterr().out
    (pair, _) = PairStore(tmp_path / "s")
    assert (pair.input_caption, pair.target_caption) == ("the red", "the make red")
    assert rethink("filter", tmp_path / "s", "--clip", clip_folder, "--side", 16) == 0
    assert "clip_sim_dir" in next(iter(PairStore(tmp_path / "s").scores))
    assert rethink("filter", tmp_path / "s", "--clip", "built-in", "--side", 16) == 0
    assert {record["clip"] for record in PairStore(tmp_path / "s").scores} == {clip_folder.name, "built-in"}


def test_a_thinker_in_a_folder_looks_and_what_it_babbles_is_told(thinker, folder, tmp_path, capsys):
    store = tmp_path / "s"
    for photo in list(folder.iterdir())[1:]:
        photo.unlink()
    assert (
        rethink(
            "synthesize",
            folder,
            store,
            "--operations",
            "cover",
            "--thinker",
            thinker,
            "--max-tokens",
            16,
            "--workers",
            1,
        )
        == 0
    )
    assert "0 pairs made, 1 skipped" in capsys.readouterr().out
    assert "no JSON object" in next(iter(PairStore(store).skipped))["why"]


def test_a_server_is_asked_several_times_at_once_and_the_same_comes_of_it(folder, tmp_path):
    answers = {  # by what is in the question
        "Find signs": '{"places": [{"box": [100, 100, 500, 500], "place": "a sign"}]}',
        "original of that part": '{"place": "the sign", "description": "It says STOP."}',
        "careful editor": '{"score": 9}',
        "%%": "make it so\n%%\nanother thing",
    }

    def answer(body):
        wait_until(lambda: server.most_at_once >= min(count, 2))
        asked = json.dumps(body["messages"])
        return 200, completion(next(said for part, said in answers.items() if part in asked)), {}

    (tmp_path / "captions.txt").write_text("".join(f"thing {n}\n" for n in range(6)))
    made = {}
    for count in (1, 3):
        store, edits, most = tmp_path / f"s{count}", tmp_path / f"{count}.jsonl", []
        for command in (
            ("synthesize", folder, store, "--pairs", 2, "--operations", "cover", "--find", "signs", "--workers", 1),
            ("filter", store, "--duplicates", -1, "--workers", 1),
            ("caption-edits", tmp_path / "captions.txt", edits, "--workers", 1),
        ):
            with openai_server() as server:
                server.replies = [answer]
                assert rethink(*command, "--thinker", server.url, "--model", "m", "--concurrency", count) == 0
                most.append(server.most_at_once)
        assert all(found > 1 if count > 1 else found == 1 for found in most)
        ledgers = PairStore(store).manifest, PairStore(store).spots, PairStore(store).scores, JsonlLog(edits)
        made[count] = [sorted(map(json.dumps, ledger)) for ledger in ledgers]
    assert made[1] == made[3] and [len(lines) for lines in made[1]] == [12, 6, 24, 6]


def test_a_fine_tuning_file_from_the_users_triples(tmp_path, capsys):
    (tmp_path / "t.jsonl").write_text('{"caption": "a cat", "edit": "make it a dog", "output": "a dog"}\n')
    assert (
        rethink("caption-edits", "-", "-", "--triples", tmp_path / "t.jsonl", "--fine-tuning", tmp_path / "f.jsonl")
        == 0
    )
    assert "1 records" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["synthesize", "missing", "S"], "no folder"),
        (["synthesize", "PHOTOS", "S", "--operations", "explode"], "explode"),
        (["synthesize", "PHOTOS", "S", "--set", "cover.fill"], "--set"),
        (["synthesize", "PHOTOS", "S", "--set", "cover.fill=plaid"], "plaid"),
        (["synthesize", "PHOTOS", "S", "--workers", "-1"], "workers"),
        (["synthesize", "PHOTOS", "S", "--inverse", "x"], "--editor"),
        (["synthesize", "PHOTOS", "S", "--boxes", "missing.json"], "boxes"),
        (["synthesize", "PHOTOS", "S", "--templates", "missing.json"], "--templates"),
        (["synthesize", "PHOTOS", "S", "--config", "missing.json"], "--config"),
        (["synthesize", "PHOTOS", "PHOTOS/photo 0.png"], "cannot write"),
        (["synthesize", "PHOTOS", "S", "--engine", "ray", "--share", "damage"], "--share"),
        (["synthesize", "PHOTOS", "S", "--engine", "ray", "--share", "damage=0"], "share"),
        (["synthesize", "PHOTOS", "S", "--engine", "ray", "--share", "damge=1"], "damge"),
        (["caption-edits", "-", "-", "--fine-tuning", "/missing/f.jsonl"], "/missing/f.jsonl"),
        (["import", "PHOTOS", "webdataset", "S"], "no pair"),
        (["p2p", "missing.jsonl", "S"], "--sd"),
        (["p2p", "missing.jsonl", "S", "--sd", "x", "--clip", "x", "--looks", "half"], "--looks"),
        (["p2p", "missing.jsonl", "S", "--sd", "x", "--clip", "x", "--looks", "0:0:0:0"], "looks"),
        (["caption-edits", "missing.txt", "o.jsonl"], "--thinker"),
        (["filter", "PHOTOS"], "manifest"),
        (["filter", "PHOTOS", "--image", "7"], "image"),
        (["export", "PHOTOS", "imagefolder", "OUT"], "manifest"),
        (["inspect", "missing"], "manifest"),
    ],
)
def test_a_users_mistake_is_one_sentence_and_exit_2(arguments, said, folder, tmp_path, capsys):
    places = {
        "PHOTOS": folder,
        "S": tmp_path / "s",
        "OUT": tmp_path / "out",
        "PHOTOS/photo 0.png": folder / "photo 0.png",
    }
    assert rethink(*(places.get(argument, argument) for argument in arguments)) == 2
    told = capsys.readouterr().err
    assert said in told and "Traceback" not in told and len(told.strip().splitlines()) == 1


def test_other_places_or_words_are_other_pairs_and_a_run_that_goes_on_says_how_long(
    folder, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(progress, "LOG_INTERVAL", 0)
    flags = "synthesize", folder, tmp_path / "s", "--operations", "cover", "--workers", 1
    (tmp_path / "boxes.json").write_text(json.dumps({"photo 0.png": [{"box": [0, 0, 0.5, 0.5], "place": "the sky"}]}))
    (tmp_path / "words.json").write_text(json.dumps({"cover": ["wipe {thing}"]}))
    for more, made in (
        ([], 6),
        (["--boxes", tmp_path / "boxes.json"], 1),
        (["--templates", tmp_path / "words.json"], 6),
        ([], 0),
    ):
        assert rethink(*flags, *more) == 0
        assert f"{made} pair" in capsys.readouterr().out
    assert rethink("export", tmp_path / "s", "ai-toolkit", tmp_path / "out") == 0
    assert "13 of 13 pairs written" in capsys.readouterr().err


def test_the_commands_need_no_torch_before_they_work():
    """In a process of its own, into which nothing has brought torch yet."""
    script = "import sys; from rethink.cli import pairs; from rethink.pairs.inverse import processes; "
    script += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=PACK_ROOT).returncode == 0


def test_help_shows_how_a_command_is_used(capsys):
    with pytest.raises(SystemExit):
        rethink("p2p", "--help")
    help_page = capsys.readouterr().out
    assert "examples:" in help_page and "--engine" in help_page


def test_where_arrows_cannot_be_written_a_run_ends_well_all_the_same(folder, tmp_path):
    def run(*arguments, **options):
        command = [sys.executable, "-m", "rethink", *map(str, arguments)]
        return subprocess.run(command, cwd=PACK_ROOT, env={**os.environ, "PYTHONIOENCODING": "ascii"}, **options)

    made = run("synthesize", folder, tmp_path / "s", "--workers", 1, capture_output=True)
    assert made.returncode == 0 and b"6 pairs made" in made.stdout and b"Traceback" not in made.stderr
    reading, writing = os.pipe()
    os.close(reading)
    seen_enough = run("inspect", tmp_path / "s", stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert b"Traceback" not in seen_enough.stderr
