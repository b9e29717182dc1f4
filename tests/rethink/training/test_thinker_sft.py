"""A Qwen3-VL learns from conversations and loads again."""

import shutil

import pytest
import torch

from rethink.thinkers.backends.local_folder import load_thinker
from rethink.thinkers.critique import TEMPLATE, Thinker, critique, critique_messages
from rethink.tiny import build_thinker, teacher
from rethink.training import conversations as data
from rethink.training.thinker_sft import IGNORED, DataCollator, SFTConfig, main, train
from tests.support.miniature_thinkers import write_thinker
from tests.support.trajectories import write_trajectory


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("thinker")
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_thinker, "TEXT", build_thinker.TEXT | small)
        patch.setattr(build_thinker, "VISION", {"hidden_size": 32, "intermediate_size": 64, "depth": 2, "num_heads": 2})
        build_thinker.write_folder(folder)
        build_thinker.make_model(folder).save_pretrained(folder)
    return folder


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
    examples = build_thinker.CritiqueExamples()
    return [{"conversation": examples[index]} for index in range(count)]


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


def test_what_is_learned_is_the_answer_after_the_question_as_it_is_asked(chat):
    row = rows(1)[0]["conversation"]
    encoded = DataCollator(chat, pack=False).encode(row)
    tokens, labels = encoded.token_inputs["input_ids"], encoded.token_inputs["labels"]
    asked = chat.reader(row.messages, data.load_images(row)).tokens
    assert torch.equal(tokens[: len(asked)], asked) and (labels[: len(asked)] == IGNORED).all()
    assert torch.equal(labels[len(asked) :], tokens[len(asked) :])
    assert chat.tokenizer.decode(labels[len(asked) :]) == row.answer + chat.tokenizer.eos_token


def test_a_packed_row_is_worth_its_conversations(chat):
    """What stands before a conversation in its row must not be seen by it."""
    batch = rows(3)
    with torch.no_grad():
        packed = chat.module(**DataCollator(chat, pack=True)(batch), use_cache=False).logits[0]
        start = 0
        for row in batch:
            alone = chat.module(**DataCollator(chat, pack=False)([row])).logits[0]
            torch.testing.assert_close(packed[start : start + len(alone)], alone, rtol=1e-3, atol=1e-4)
            start += len(alone)
    assert start == len(packed)


def test_it_learns_and_goes_on_where_it_was_cut_off(chat, folder, tmp_path, capsys):
    examples = [row["conversation"] for row in rows(4)] * 4
    train(chat, examples, CONFIG, tmp_path / "whole")
    assert (tmp_path / "whole" / "checkpoint-4").is_dir()
    losses = [
        float(line.split("'loss': '")[1].split("'")[0])
        for line in capsys.readouterr().out.splitlines()
        if "'loss'" in line
    ]
    assert len(losses) == 4 and losses[-1] < losses[0]
    (tmp_path / "cut").mkdir()
    (tmp_path / "whole" / "checkpoint-2").rename(tmp_path / "cut" / "checkpoint-2")
    again = load_thinker(folder, dtype="fp32")
    train(again, examples, CONFIG, tmp_path / "cut")
    for ours, theirs in zip(again.module.parameters(), chat.module.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


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


def test_a_checkpoint_that_was_cut_off_is_passed_over_and_those_of_another_config_are_refused(folder, tmp_path):
    write_trajectory(tmp_path / "data" / "run", (2, 5, 9))
    arguments = [folder, tmp_path / "data", tmp_path / "out", "--batch", 1, "--accumulate", 1, "--save-every", 1]
    arguments = [str(a) for a in [*arguments, "--precision", "no", "--workers", 0, "--epochs", 1]]
    assert main(arguments) == 0
    work = tmp_path / "out-checkpoints"
    last = max(work.glob("checkpoint-*"), key=lambda f: int(f.name.rpartition("-")[2]))
    shutil.copytree(last, work / "checkpoint-999", ignore=shutil.ignore_patterns("trainer_state.json"))
    (work / "checkpoint-999" / "model.safetensors").write_bytes(b"cut")
    assert main([*arguments[:-1], "2"]) == 0
    assert main([*arguments, "--lora", "4"]) == 2


def test_the_command_says_what_is_wrong(folder, tmp_path, capsys):
    for arguments, message in (
        ([folder, tmp_path, tmp_path / "out"], "none of the 0 trajectories"),
        ([folder, tmp_path, tmp_path / "out", "--template", tmp_path / "none.txt"], "template: "),
    ):
        assert main([str(argument) for argument in arguments]) == 2
        assert message in capsys.readouterr().err
