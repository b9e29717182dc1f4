"""A Qwen3-VL learns from conversations and loads again."""

import multiprocessing
import shutil
from dataclasses import replace
from random import Random

import pytest
import torch

from rethink.thinkers.backends.local_folder import load_thinker
from rethink.thinkers.critique import TEMPLATE, Thinker, critique, critique_messages
from rethink.tiny import teacher
from rethink.tiny.thinker_lessons import as_conversation
from rethink.training.thinker_settings import SFTConfig
from rethink.training.thinker_sft import SFTJob, main, train
from tests.support.miniature_thinkers import write_thinker, write_world_thinker
from tests.support.trajectories import write_trajectory


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_world_thinker(tmp_path_factory.mktemp("thinker"))


@pytest.fixture
def chat(folder):
    return load_thinker(folder, dtype="fp32")


CONFIG = SFTConfig(
    batch=4,
    accumulate=1,
    learning_rate=3e-3,
    train_vision=True,
    checkpointing=False,
    precision="no",
    workers=0,
    save_every=2,
    log_every=1,
)


def rows(count):
    examples = (teacher.draw_example(index) for index in range(count))
    return [{"conversation": as_conversation(example, Random(index))} for index, example in enumerate(examples)]


def test_whole_questions_and_known_words_are_few_tokens(chat):
    long_ago = critique_messages(
        TEMPLATE, instruction="dye the red star cobalt", prompt="make the red star blue", checklist=("nothing",)
    )
    images = [torch.zeros(1, 128, 128, 3)] * 2
    assert len(chat.reader(long_ago, images).tokens) < 80
    for seed in range(20):
        answer = teacher.write_critique(teacher.draw_example(seed))
        tokens = chat.tokenizer(answer).input_ids
        assert chat.tokenizer.decode(tokens) == answer and len(tokens) < 160
    odd = "ångström 草 🙂"
    assert chat.tokenizer.decode(chat.tokenizer(odd).input_ids) == odd


def test_it_learns_and_goes_on_where_it_was_cut_off(chat, folder, tmp_path):
    examples, lines = [row["conversation"] for row in rows(4)] * 4, []
    train(chat, examples, CONFIG, tmp_path / "whole", report=lines.append)
    assert (tmp_path / "whole" / "checkpoint-4").is_dir()
    assert [line.split(" · ")[0] for line in lines] == [f"step {number} of 4" for number in (1, 2, 3, 4)]
    losses = [float(line.split("loss ")[1].split()[0]) for line in lines]
    assert losses[-1] < losses[0] and lines[-1].endswith("0:00:00 left")
    (tmp_path / "cut").mkdir()
    (tmp_path / "whole" / "checkpoint-2").rename(tmp_path / "cut" / "checkpoint-2")
    again = load_thinker(folder, dtype="fp32")
    train(again, examples, CONFIG, tmp_path / "cut")
    for ours, theirs in zip(again.module.parameters(), chat.module.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.fixture
def without_forks():
    """As on Windows and macOS."""
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method("spawn", force=True)
    yield
    multiprocessing.set_start_method(before, force=True)


def test_where_processes_are_not_forked_this_one_reads_all(chat, tmp_path, without_forks):
    examples, lines = [row["conversation"] for row in rows(4)], []
    train(chat, examples, replace(CONFIG, workers=2), tmp_path, report=lines.append)
    assert len(lines) == 1


@pytest.mark.parametrize("end", [{"epochs": 1.0}, {"epochs": 1000.0, "minutes": 1e-3}])
def test_the_last_step_has_a_line_however_seldom_there_are_some(chat, tmp_path, end):
    examples, lines = [row["conversation"] for row in rows(4)] * 2, []
    train(chat, examples, replace(CONFIG, log_every=100, **end), tmp_path / "work", report=lines.append)
    assert lines[-1].startswith("step ") and "loss" in lines[-1] and lines[-1].endswith("0:00:00 left")


class Ended(BaseException):
    """What a front end raises where the user wants no more."""


@torch.inference_mode()  # as ComfyUI runs nodes
def test_the_job_ends_on_request_and_goes_on_with_what_was_learned(folder, tmp_path):
    write_trajectory(tmp_path / "data" / "run", (2, 5, 9))
    file = write_trajectory(tmp_path / "data" / "cut off", (2, 9)).folder / "turn-0002-00.png"
    file.write_bytes(file.read_bytes()[:60])
    config = replace(CONFIG, batch=1, save_every=100)

    def end_after_the_second(progress):
        if progress.done == 2:
            raise Ended

    job = SFTJob(folder, (tmp_path / "data",), tmp_path / "out", config, folder=tmp_path / "training")
    with pytest.raises(Ended):
        job.run(lambda line: None, end_after_the_second)
    (work,) = (tmp_path / "training").iterdir()
    assert (work / "checkpoint-2" / "trainer_state.json").is_file() and not (tmp_path / "out" / "config.json").exists()
    lines, told = [], []
    report = job.run(lines.append, told.append)
    left_out = "1 run left out: damaged, unfinished, or without a readable instruction."
    assert lines[0] == f"3 conversations · {left_out}" and lines[1].startswith("step 3 of 3 · ") and len(lines) == 2
    assert (told[-1].done, told[-1].total) == (3, 3)
    assert str(report) == f"thinker → {tmp_path / 'out'}\ntrained on 3 conversations; {lines[-1]}\n{left_out}"
    whole = replace(job, output=tmp_path / "whole")
    whole.run(lambda line: None)
    ours, theirs = (load_thinker(tmp_path / name, dtype="fp32").module.parameters() for name in ("out", "whole"))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)
    assert len(list((tmp_path / "training").iterdir())) == 2, "another name is another training"


@pytest.mark.parametrize("lora", [0, 4])
def test_the_command_trains_a_folder_that_opens(folder, tmp_path, lora):
    write_trajectory(tmp_path / "data" / "run", (2, 5, 9))
    arguments = [folder, tmp_path / "data", tmp_path / "out", "--lora", lora, "--pack"]
    arguments += ["--batch", 1, "--precision", "no", "--workers", 0, "--learning-rate", 0.01]
    assert main([str(argument) for argument in arguments]) == 0
    before, after = (load_thinker(path, dtype="fp32") for path in (folder, tmp_path / "out"))
    changed = {
        name
        for (name, old), new in zip(before.module.named_parameters(), after.module.parameters(), strict=True)
        if not torch.equal(old, new)
    }
    assert changed and not any("visual" in name for name in changed)
    source = torch.rand(1, 128, 128, 3)
    said = critique(Thinker(after, max_tokens=8), source, [source], "make it red", ["make it red"], [0])
    assert said[0].status in ("unparsed", "ok", "repaired")


def test_the_command_trains_every_kind_in_every_way(tmp_path):
    write_trajectory(tmp_path / "data" / "run", (2, 5, 9))
    base = write_thinker(tmp_path / "base", "Qwen2_5_VL")
    before = load_thinker(base, dtype="fp32").module.state_dict()
    for number, flags in enumerate((["--lora", "4"], ["--lora", "4", "--see"], ["--see"])):
        out = tmp_path / str(number)
        arguments = [base, tmp_path / "data", out, "--batch", 1, "--precision", "no", "--workers", 0]
        arguments += ["--learning-rate", 0.01, *flags]
        assert main([str(argument) for argument in arguments]) == 0
        after = load_thinker(out, dtype="fp32").module.state_dict()
        changed = [name for name in before if not torch.equal(before[name], after[name])]
        assert changed and any("visual" in name for name in changed) is ("--see" in flags)


def test_a_checkpoint_that_was_cut_off_is_passed_over_and_another_config_starts_anew(folder, tmp_path, capsys):
    write_trajectory(tmp_path / "data" / "run", (2, 5, 9))
    arguments = [folder, tmp_path / "data", tmp_path / "out", "--batch", 1, "--accumulate", 1, "--save-every", 1]
    arguments = [str(a) for a in [*arguments, "--precision", "no", "--workers", 0, "--log-every", 1, "--epochs", 1]]
    assert main(arguments) == 0
    (work,) = (tmp_path / "out-checkpoints").iterdir()
    last = max(work.glob("checkpoint-*"), key=lambda f: int(f.name.rpartition("-")[2]))
    shutil.copytree(last, work / "checkpoint-999", ignore=shutil.ignore_patterns("trainer_state.json"))
    (work / "checkpoint-999" / "model.safetensors").write_bytes(b"cut")
    capsys.readouterr()
    assert main([*arguments[:-1], "2"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("step 4 of 6")
    assert main([*arguments, "--lora", "4"]) == 0
    assert len(list((tmp_path / "out-checkpoints").iterdir())) == 2


def weights_of(folder):
    return [weight.clone() for weight in load_thinker(folder, dtype="fp32").module.parameters()]


def same(ours, theirs):
    return all(torch.equal(mine, other) for mine, other in zip(ours, theirs, strict=True))


def test_other_data_and_another_start_are_learned_anew(folder, tmp_path):
    write_trajectory(tmp_path / "old" / "run", (2, 5, 9))
    write_trajectory(
        tmp_path / "new" / "run", (2, 5, 9), instruction="paint it blue"
    )  # the same answers, images of one name
    config = replace(CONFIG, batch=1, learning_rate=1e-2)

    def learn(start, data, **options):
        lines = []
        SFTJob(start, (tmp_path / data,), tmp_path / "out", replace(config, **options)).run(lines.append)
        return weights_of(tmp_path / "out"), lines

    old, _ = learn(folder, "old")
    new, lines = learn(folder, "new")
    assert not same(old, new) and lines[1].startswith("step 1 of 3")
    again, lines = learn(folder, "old")
    assert same(old, again) and lines == ["3 conversations", "step 3 of 3: nothing is left to train"]
    start = tmp_path / "start"
    for epochs in (1.0, 2.0):  # a start that comes to have other weights under the same name
        SFTJob(folder, (tmp_path / "old",), start, replace(config, epochs=epochs)).run(lambda line: None)
        found, lines = learn(start, "new")
        assert lines[1].startswith("step 1 of 3")
    shutil.copytree(start, tmp_path / "elsewhere")
    moved, lines = learn(tmp_path / "elsewhere", "new")
    assert same(found, moved) and "nothing is left" in lines[1]


def test_a_training_whose_time_is_over_learns_no_more(folder, tmp_path):
    write_trajectory(tmp_path / "data" / "run", (2, 5, 9))
    config = replace(CONFIG, batch=1, save_every=100, epochs=1000.0, minutes=0.01)
    job = SFTJob(folder, (tmp_path / "data",), tmp_path / "out", config)
    job.run((first := []).append)
    before = weights_of(tmp_path / "out")
    job.run((second := []).append)
    step = first[-1].split()[1]
    assert second[1:] == [f"step {step} of 3000: nothing is left to train"] and same(
        before, weights_of(tmp_path / "out")
    )
    replace(job, config=replace(config, minutes=0.02)).run((third := []).append)
    assert third[1].startswith(f"step {int(step) + 1} of 3000 ")


def test_the_command_says_what_is_wrong(folder, tmp_path, capsys):
    (tmp_path / "slotless.txt").write_text("How good is it?", encoding="utf-8")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "llama-factory-sft.jsonl").touch()
    for arguments, message in (
        ([folder, tmp_path, tmp_path / "out"], "there are no recorded runs in"),
        ([folder, tmp_path / "other", tmp_path / "out"], "has llama-factory-sft.jsonl, but no trl-sft.jsonl"),
        ([folder, tmp_path, tmp_path / "out", "--template", tmp_path / "none.txt"], "template: "),
        ([folder, tmp_path, tmp_path / "out", "--template", tmp_path / "slotless.txt"], "template: "),
    ):
        assert main([str(argument) for argument in arguments]) == 2
        assert message in capsys.readouterr().err
