"""The folder of a training: its record, its state, and how the best save is chosen."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from rethink.errors import RethinkError
from rethink.training.best_save import Save
from rethink.training.lora_run import LoraRecord, LoraRun, PreviewPair, check_own_file
from rethink.training.trainable_lora import TrainableLora
from tests.support.mapped_files import is_mapped

RECORD = LoraRecord("it", {"rank": 2}, "built-in", "instruct_pix2pix", 8, ("a", "b"), "0123")


def make_lora():
    return TrainableLora({"to_q": nn.Linear(4, 3)}, 2, 0, torch.device("cpu"))


def test_the_best_save_is_chosen_by_the_evidence():
    saves = (Save(1, "1", 0.5, 0.4), Save(2, "2", 0.4, 0.3), Save(3, "3", 0.1, 0.35), Save(4, "4", 0.1, None))
    best = replace(RECORD, saves=saves).choose_best()
    assert best.best == 2 and best.why == "the lowest loss of 3 saves on 2 held-out pairs (0.30000)"


def test_a_held_out_pair_whose_files_were_gone_is_none_of_those_that_were_measured():
    lowest, worse = (0.1, 0.1, 0.1, 0.1), (0.101, 0.103, 0.103, 0.101)  # two pairs at two times each
    saves = (Save(1, "1", 0.5, 0.1, losses=lowest), Save(2, "2", 0.4, 0.102, losses=worse))
    record = replace(RECORD, held_out=("a", "b", "c", "d"), skipped=("b", "c", "of training"), saves=saves)
    assert record.choose_best().why == "the lowest loss of 2 saves on 2 held-out pairs (0.10000)"


def test_a_record_is_read_again_and_one_of_before_too(tmp_path):
    run = LoraRun(tmp_path)
    assert run.read_record() is None
    pair = PreviewPair("red", "i", "t", "b", {"changed": 0.1}, ("r",))
    saves = (Save(1, "1", 0.5, 0.4, ("p",), ({"changed": 0.5, "kept": None},)),)
    record = replace(RECORD, step=1, losses=(0.5,), saves=saves, rates=((1, 0.1),), preview_pairs=(pair,))
    run.write_record(record)
    assert run.read_record() == record
    old = json.loads((tmp_path / "training.json").read_text(encoding="utf-8"))
    for name in ("step", "steps", "rates", "memory", "preview_pairs"):
        old.pop(name)
    del old["saves"][0]["scores"]
    (tmp_path / "training.json").write_text(json.dumps(old), encoding="utf-8")
    assert run.read_record().step == 1 and run.read_record().saves[0].scores == ()
    (tmp_path / "training.json").write_text("torn", encoding="utf-8")
    assert run.read_record() is None


def test_a_state_comes_back_whole(tmp_path):
    run, lora = LoraRun(tmp_path), make_lora()
    optimizer = torch.optim.AdamW(lora.parameters(), 0.1)
    lora.ups[0].sum().backward()
    optimizer.step()
    record = replace(RECORD, step=1, losses=(0.5,), saves=(Save(1, "1", 0.5, None, ("p",)),))
    run.write_state(lora, optimizer, record)
    run.write_record(record)
    other = make_lora()
    again = torch.optim.AdamW(other.parameters(), 0.1)
    assert run.read_state(other, again) == record
    for each, steps in ((lora, optimizer), (other, again)):
        each.zero_grad()
        (each.ups[0].sum() * 2).backward()
        steps.step()
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(lora.parameters(), other.parameters()))
    (tmp_path / "state.safetensors").write_bytes(b"torn")
    with pytest.raises(RethinkError, match="cannot be read .*; remove it to start over"):
        run.read_state(other, again)


def test_a_state_that_was_read_can_be_replaced(tmp_path):
    """On Windows not even a number of AdamW's may be left in the file."""
    run, lora = LoraRun(tmp_path), make_lora()
    optimizer = torch.optim.AdamW(lora.parameters(), 0.1)
    lora.ups[0].sum().backward()
    optimizer.step()
    run.write_state(lora, optimizer, RECORD)
    other = make_lora()
    again = torch.optim.AdamW(other.parameters(), 0.1)
    run.read_state(other, again)
    assert again.state and not is_mapped(tmp_path / "state.safetensors")


def test_a_state_whose_weights_share_a_table_comes_back_whole(tmp_path):
    """As that of bitsandbytes' 8-bit AdamW, on a CPU."""
    lora = TrainableLora({"layer": nn.Linear(8, 8)}, 2, 0, torch.device("cpu"))
    optimizer, table = torch.optim.SGD(lora.parameters()), torch.linspace(-1, 1, 256)
    for weight in lora.parameters():
        optimizer.state[weight] |= {"qmap1": table, "state1": torch.ones(8, dtype=torch.uint8), "step": 3}
    run = LoraRun(tmp_path)
    run.write_state(lora, optimizer, RECORD)
    again = torch.optim.SGD(lora.parameters())
    run.read_state(lora, again)
    for weight in lora.parameters():
        assert torch.equal(again.state[weight]["qmap1"], table) and again.state[weight]["step"] == 3
        assert again.state[weight]["state1"].dtype == torch.uint8


def test_nothing_to_go_on_from(tmp_path):
    run, lora = LoraRun(tmp_path), make_lora()
    assert run.read_state(lora, torch.optim.AdamW(lora.parameters())) is None


def test_a_lora_of_somebody_else_is_not_replaced(tmp_path):
    check_own_file(tmp_path / "none.safetensors")
    save_file({"x": torch.ones(1)}, tmp_path / "ours.safetensors", {"rethink.family": "flux2"})
    check_own_file(tmp_path / "ours.safetensors")
    for name, content in (("theirs", {"ss_network_dim": "4"}), ("plain", None)):
        save_file({"x": torch.ones(1)}, tmp_path / f"{name}.safetensors", content)
        with pytest.raises(RethinkError, match="was not trained by Rethink; choose another name"):
            check_own_file(tmp_path / f"{name}.safetensors")
