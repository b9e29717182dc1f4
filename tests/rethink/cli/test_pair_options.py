"""The models and the engine that arguments name."""

import argparse
import json

import pytest

from rethink.cli import pair_options
from rethink.cli.main import main, make_parser
from rethink.cli.pair_options import add_engine, clip_from, editor_from, engine_from, name_model
from rethink.errors import RethinkError
from rethink.pairs.from_captions.caption_edits import MAX_ATTEMPTS
from rethink.pairs.ray_cluster import WorkerResources
from rethink.pairs.store import PairStore
from tests.support.servers import openai_server


def rethink(*arguments):
    return main([str(argument) for argument in arguments])


def test_who_finds_and_describes_is_opened_once(folder, tmp_path, monkeypatch):
    opened, answers = (
        [],
        ('{"places": [{"box": [100, 100, 500, 500]}]}', '{"place": "sign", "description": "It says STOP."}'),
    )

    def open_once(*_):
        opened.append(1)
        return lambda messages, images, **_: answers["Find " not in messages[0]["content"][-1]["text"]]

    monkeypatch.setattr(pair_options, "open_chat", open_once)
    flags = "--operations", "cover", "--find", "signs", "--thinker", "x", "--workers", 1
    assert rethink("synthesize", folder, tmp_path / "s", *flags) == 0 and len(opened) == 1
    assert all(
        "the sign" in p.instruction and p.instruction.endswith("It says STOP.") for p in PairStore(tmp_path / "s")
    )


def test_a_server_that_is_typed_is_allowed_and_one_that_a_config_file_names_is_for_the_owner_to_allow(
    tmp_path, monkeypatch, capsys, owner
):
    monkeypatch.setenv("MY_SECRET", "planted-0123456789")
    (tmp_path / "captions.txt").write_text("a dog\n")
    config, edits = tmp_path / "theirs.json", ["caption-edits", tmp_path / "captions.txt", tmp_path / "edits.jsonl"]

    def refused(**record):
        config.write_text(json.dumps(record))
        assert rethink(*edits, "--config", config) == 2
        return capsys.readouterr().err

    with openai_server() as server:
        assert "MY_SECRET is not paired with http://127.0.0.1" in refused(
            thinker=server.url, model="m", key_variable="MY_SECRET"
        )
        short = {"thinker": server.url, "mod": "m", "key-var": "MY_SECRET"}  # as argparse takes it
        assert "MY_SECRET is not paired with http://127.0.0.1" in refused(**short)
        said = refused(thinker="http://192.0.2.1/v1", model="m")
        assert f'add {{"hosts": ["http://192.0.2.1"]}} to {owner}' in said and not server.requests
        config.write_text(json.dumps({"model": "m"}))
        typed = ["--thinker", server.url, "--key-variable", "MY_SECRET"]
        assert rethink(*edits, "--config", config, *typed) == 0
        assert rethink(*edits[:2], tmp_path / "more.jsonl", *typed, "--model", "m") == 0
        assert {request.headers["authorization"] for request in server.requests} == {"Bearer planted-0123456789"}
    assert not owner.exists()


def parse(*arguments):
    parser = argparse.ArgumentParser()
    add_engine(parser, "draw, measure")
    return parser.parse_args([str(argument) for argument in arguments])


def test_an_engine_takes_shares_by_stage():
    engine = engine_from(parse("--engine", "ray", "--workers", 3, "--share", "draw=1:0.5:4", "measure=2"))
    assert (engine.engine, engine.workers) == ("ray", 3)
    assert engine.resources == {"draw": WorkerResources(1.0, 0.5, 4), "measure": WorkerResources(2.0)}
    assert engine_from(parse()).is_local


@pytest.mark.parametrize("share", ["draw", "draw=many", "draw=1=2"])
def test_a_share_that_makes_no_sense_is_repeated(share):
    with pytest.raises(RethinkError, match=f"^--share: expected STAGE=CPUS.* got {share}"):
        engine_from(parse("--share", share))


def test_a_model_is_called_by_its_folder_without_the_way_to_it(tmp_path):
    assert name_model("http://127.0.0.1:9/v1", model="owner/painter") == "painter @ http://127.0.0.1:9"
    assert name_model("built-in") == "built-in" and name_model(tmp_path / "deep" / "sd15") == "sd15"


def test_an_editor_and_what_it_does_go_together():
    options = argparse.Namespace(editor="", inverse="remove the hat", device="cpu")
    with pytest.raises(RethinkError, match="^--editor and --inverse go together"):
        editor_from(options)
    assert editor_from(argparse.Namespace(editor="", inverse="", lora=[])) is None
    source = editor_from(
        argparse.Namespace(editor="models/qwen-edit", inverse="x", device="cpu", lora=[], editor_model="")
    )
    assert source.name == "qwen-edit", "known before it is opened"


def test_a_clip_is_known_before_it_is_opened(clip_folder):
    assert clip_from(argparse.Namespace(clip="")) is None
    source = clip_from(argparse.Namespace(clip=str(clip_folder), device="cpu"))
    assert source.name == clip_folder.name and source.load().texts(["a", "b"]).shape[0] == 2


def test_the_thinker_gets_the_options_of_its_node(tmp_path):
    (tmp_path / "captions.txt").write_text("a dog\n")
    thinker = ["--model", "m", "--max-tokens", 77, "--thinker-timeout", 9, "--thinker-retries", 0]
    with openai_server() as server:
        server.replies = [(503, "{}", {})]
        edits = ["caption-edits", tmp_path / "captions.txt", tmp_path / "edits.jsonl", "--thinker", server.url]
        assert rethink(*edits, *thinker) == 0
        assert {request.body["max_tokens"] for request in server.requests} == {77}
        assert len(server.requests) == MAX_ATTEMPTS, "none is sent again"
    options = make_parser().parse_args([str(word) for word in (*edits, *thinker, "--thinker-dtype", "bf16")])
    options.typed = frozenset()
    config = pair_options.thinker_from(options).load.args[0]
    assert (config.timeout, config.retries, config.max_tokens, config.dtype) == (9, 0, 77, "bf16")
