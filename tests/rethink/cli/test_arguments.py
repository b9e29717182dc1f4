"""Options of the command line: made from the fields of a job, and read from a config file."""

import argparse
import json
from dataclasses import dataclass

import pytest

from rethink.cli.arguments import add_field, find_typed, with_config
from rethink.cli.main import main, make_parser
from rethink.options import option
from rethink.pairs.store import PairStore


def rethink(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ('{"pears": 4}', "pears"),
        ('{"pairs": "many"}', "--pairs"),
        ('{"engine": "Ray"}', "--engine"),
        ("[1]", "no options"),
        ("{", "cannot read"),
    ],
)
def test_a_config_is_read_and_refused_as_options_are(folder, tmp_path, capsys, config, said):
    (tmp_path / "run.json").write_text(config)
    try:
        code = rethink("synthesize", folder, tmp_path / "s", "--config", tmp_path / "run.json")
    except SystemExit as exit:
        code = exit.code
    assert code == 2 and said in capsys.readouterr().err


def test_what_is_given_goes_before_the_config_also_where_it_is_the_default(folder, tmp_path):
    text = '\ufeff{"pairs": "3", "operations": ["cover"], "paraphrase": true, "workers": 1, "masks": null}'
    (tmp_path / "run.json").write_text(text, encoding="utf-8")
    given = ["--pairs", 1, "--no-paraphrase"]
    assert rethink("synthesize", folder, tmp_path / "s", "--config", tmp_path / "run.json", *given) == 0
    assert len(list(PairStore(tmp_path / "s"))) == 6


@dataclass(frozen=True)
class Job:
    steps: int = option(4, "How many, 50% of all.", low=1, high=9)
    kind: str = option("a", "Which.", choices=("a", "b"))
    words: str = option("", "What.")
    turn_off: bool = option(True, "Whether.")
    area: tuple[float, float] = option((0.1, 0.25), "Share of it.", low=0.0, high=1.0)


@pytest.fixture
def parser():
    parser = argparse.ArgumentParser()
    for name in ("steps", "kind", "words", "turn_off", "area"):
        add_field(parser, Job, name)
    return parser


def test_the_option_of_a_field_has_its_type_default_and_help(parser):
    assert vars(parser.parse_args([])) == {"steps": 4, "kind": "a", "words": "", "turn_off": True, "area": (0.1, 0.25)}
    given = parser.parse_args(["--steps", "7", "--kind", "b", "--no-turn-off", "--area", "0.2", "0.3"])
    assert (given.steps, given.kind, given.turn_off, given.area) == (7, "b", False, [0.2, 0.3])
    page = " ".join(parser.format_help().split())
    assert "[--steps N] [--kind {a,b}] [--words WORDS] [--turn-off | --no-turn-off] [--area LOW HIGH]" in page
    assert "How many, 50% of all. Default: 4" in page and "Share of it. Default: 0.1 0.25" in page
    assert "What. Default" not in page, "nothing is no default worth a word"


@pytest.mark.parametrize("arguments", [["--steps", "many"], ["--kind", "c"], ["--area", "0.2"]])
def test_what_is_of_another_kind_is_refused(parser, arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(arguments)
    assert ended.value.code == 2 and arguments[0] in capsys.readouterr().err


def test_a_config_stands_before_what_is_given(tmp_path):
    config = tmp_path / "run.json"
    config.write_text(json.dumps({"longest_side": 9, "paraphrase": False, "set": ["a", "b"], "masks": None}))
    arguments = ["synthesize", "photos", "--config", str(config), "--seed", "1"]
    assert with_config(arguments) == [
        *("synthesize", "--longest-side=9", "--no-paraphrase", "--set", "a", "b"),
        *("--config", str(config), "photos", "--config", str(config), "--seed", "1"),
    ]
    assert with_config(["synthesize", "photos"]) == ["synthesize", "photos"]


def test_a_list_of_loras_is_the_option_several_times(tmp_path):
    (tmp_path / "run.json").write_text('{"lora": ["a.safetensors:0.5", "b.safetensors"]}')
    arguments = ["p2p", "edits.jsonl", "store", "--config", str(tmp_path / "run.json"), "--lora", "c.safetensors"]
    options = make_parser().parse_args(with_config(arguments))
    assert options.lora == ["a.safetensors:0.5", "b.safetensors", "c.safetensors"]


def test_what_was_typed_is_told_from_what_a_config_says():
    assert find_typed(["p2p", "a.jsonl", "--seed=4", "--sd", "x", "-v"]) == {"--seed", "--sd"}
