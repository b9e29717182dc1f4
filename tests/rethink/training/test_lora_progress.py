"""How far a training is, in a line, and what it takes."""

from dataclasses import replace

import torch

from rethink.training.best_save import Save
from rethink.training.lora_progress import describe_step, peak_memory
from rethink.training.lora_run import LoraRecord

RECORD = LoraRecord("it", {"batch": 2, "accumulate": 1}, "e", "f", 8, ("a", "b"), "0", step=10, steps=20, seconds=5.0)


def test_a_line_of_progress():
    assert describe_step(RECORD, [0.5, 0.3]) == "step 10 of 20 · loss 0.4000 · 4.0 samples/s · 0:00:05 left"
    saved = replace(RECORD, saves=(Save(5, "5", 0.4, 0.25), Save(10, "10", 0.4, None)))
    assert " · held-out 0.2500 · " in describe_step(saved, [0.5])


def test_memory_is_that_of_the_process_on_a_cpu():
    assert peak_memory(torch.device("cpu")) == 0 or peak_memory(torch.device("cpu")) > 2**20
