"""The job of training a LoRA: going on, ending early, small sets, what is refused, and what it leaves."""

import json
import os
import random
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from rethink.errors import OutOfMemoryError, RethinkError
from rethink.training.best_save import choose_save
from rethink.training.edit_lora import LoraTraining
from rethink.training.edit_model import EditModel
from rethink.training.lora_examples import LoraExamples
from rethink.training.lora_objective import LoraObjective
from rethink.training.lora_pairs import generator_of, read_pairs, split_pairs
from rethink.training.lora_run import LoraRun
from rethink.training.lora_saves import LoraSaves
from rethink.training.process_group import ProcessGroup
from tests.support import editor_miniatures
from tests.support.lora_training import make_job, open_training, train_and_kill, train_together, write_pairs


class Cut(Exception):
    pass


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("jobs")


@pytest.fixture(scope="module")
def editor(root):
    editor = editor_miniatures.opened("instruct_pix2pix", root)
    editor.defaults = replace(editor.defaults, steps=2)  # for replay and previews
    return editor


@pytest.fixture(scope="module")
def store(root):
    return write_pairs(root / "pairs", 8)


def cut_at(step):
    """A progress that ends the run at a step."""

    def on_progress(progress):
        if progress.line.startswith(f"step {step} "):
            raise Cut

    return on_progress


def test_a_run_that_was_cut_off_ends_with_the_weights_of_one_that_was_not(editor, store, tmp_path):
    options = {"steps": 6, "save_every": 2, "batch": 2, "keep": "high", "replay": 2}
    whole = make_job(tmp_path / "whole", store, **options).run(editor)
    job = make_job(tmp_path / "cut", store, **options)
    with pytest.raises(Cut):
        job.run(editor, cut_at(3))
    assert job.output.is_file()  # the best so far
    lines = []
    report = job.run(editor, lambda progress: lines.append(progress.line))
    assert [line.split()[1] for line in lines if line.startswith("step")] == ["4", "5", "6"]
    files = [load_file(each.folder / "saves" / "step-000006.safetensors") for each in (whole, report)]
    assert all(torch.equal(files[0][name], files[1][name]) for name in files[0])
    assert report.record.losses == whole.record.losses
    again = make_job(tmp_path / "cut", store, **{**options, "steps": 4}).run(
        editor, pytest.fail
    )  # nothing is left to do
    assert again.record.losses == whole.record.losses


@pytest.mark.parametrize("moment", ["step 2 of", "step 2 is saved", "step 4 of", "step 4 is saved"])
def test_a_run_that_was_cut_off_at_a_save_chooses_as_one_that_was_not(editor, store, tmp_path, moment):
    options = {"steps": 4, "save_every": 2, "batch": 2, "previews": 1}
    whole = make_job(tmp_path / "whole", store, **options).run(editor).record
    job = make_job(tmp_path / "cut", store, **options)

    def cut(progress):
        if progress.line.startswith(moment):
            raise Cut

    with pytest.raises(Cut):
        job.run(editor, cut)
    found = job.run(editor).record
    assert (found.best, found.why, found.step) == (whole.best, whole.why, whole.step)
    assert [replace(save, file="") for save in found.saves] == [replace(save, file="") for save in whole.saves]


@pytest.mark.parametrize(("call", "saved"), [(2, False), (4, True)])
def test_a_run_that_was_interrupted_within_a_step_ends_the_same(editor, store, tmp_path, monkeypatch, call, saved):
    options = {"steps": 6, "save_every": 2, "batch": 2}
    whole = make_job(tmp_path / "whole", store, **options).run(editor)
    job, step, taken = make_job(tmp_path / "cut", store, **options), torch.optim.AdamW.step, []

    def interrupted(optimizer, closure=None):
        step(optimizer, closure)
        taken.append(optimizer)
        if len(taken) == call:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            job.run(editor)
    assert job.output.is_file() == saved  # that of step 2
    report = job.run(editor)
    assert report.record.losses == whole.record.losses
    files = [load_file(each.folder / "saves" / "step-000006.safetensors") for each in (whole, report)]
    assert all(torch.equal(files[0][name], files[1][name]) for name in files[0])


def test_a_run_that_is_stopped_at_once_leaves_the_lora_of_another(editor, store, tmp_path):
    first = make_job(tmp_path, store, steps=2).run(editor)
    before = first.output.read_bytes()
    other = make_job(tmp_path, store, steps=6, save_every=3, seed=7)
    with pytest.raises(Cut):
        other.run(editor, cut_at(1))
    assert first.output.read_bytes() == before
    with pytest.raises(Cut):
        other.run(editor, cut_at(4))
    assert first.output.read_bytes() != before, "it has come as far as its first save"


def test_another_base_of_the_same_name_is_another_run(store, tmp_path):
    def train(**options):
        editor = editor_miniatures.opened("instruct_pix2pix", tmp_path, **options)
        return make_job(tmp_path, store, steps=1).run(editor).folder

    first = train()
    assert train() == first  # loaded anew, as after a restart
    others = [train(dtype="bf16"), train(quantize="fp8")]
    file = tmp_path / "instruct_pix2pix" / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights["mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight"] += 0.1
    safetensors.torch.save_file(weights, file)
    assert len({first, *others, train()}) == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_run_that_was_killed_at_any_moment_ends_the_same(editor, store, tmp_path):
    options = {"steps": 8, "save_every": 2, "batch": 2, "keep": "high", "replay": 2}
    whole = make_job(tmp_path / "whole", store, **options).run(editor)
    job, rng = make_job(tmp_path / "killed", store, **options), random.Random(0)
    for _ in range(3):
        train_and_kill(job, editor, rng, most_steps=12)
    (torn := next((tmp_path / "killed" / "runs").glob("learned-*")) / ".state.safetensors.1.part").write_bytes(b"torn")
    report = job.run(editor)
    assert not torn.exists()
    assert report.record.losses == whole.record.losses and report.record.step == 8
    files = [load_file(each.folder / "saves" / "step-000008.safetensors") for each in (whole, report)]
    assert all(torch.equal(files[0][name], files[1][name]) for name in files[0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_two_processes_take_the_same_steps_as_one(editor, store, tmp_path):
    options = {"steps": 4, "save_every": 2, "batch": 2, "accumulate": 3, "keep": "high", "replay": 3}
    alone = make_job(tmp_path / "alone", store, **options).run(editor).record
    job = make_job(tmp_path / "both", store, **options)
    assert train_together(job, editor, 2) == [0, 0]
    record = LoraRun(next((tmp_path / "both" / "runs").glob("learned-*"))).read_record()
    assert record.losses == pytest.approx(alone.losses, rel=1e-5)
    assert [save.held_out for save in record.saves] == pytest.approx([save.held_out for save in alone.saves], rel=1e-5)
    files = [load_file(make_job(tmp_path / name, store).output) for name in ("alone", "both")]
    assert all(torch.allclose(files[0][name], files[1][name], atol=1e-5) for name in files[0])


def test_more_processes_than_batches_of_a_step_are_refused(editor, store, tmp_path):
    with pytest.raises(RethinkError, match="accumulate: 3 processes share .* must be 3 or more; it is 2"):
        make_job(tmp_path, store, accumulate=2).run(editor, processes=ProcessGroup(0, 3))


def test_images_that_go_in_the_midst_of_it_are_left_out_and_named(editor, tmp_path):
    store = write_pairs(tmp_path / "pairs", 8)
    _, *gone = [pair.id for pair in split_pairs(read_pairs(store), 0.1)[0]][:3]

    def lose(progress):
        for id in gone:
            for path in (tmp_path / "pairs").rglob(f"{id}*.png"):
                path.unlink()

    report = make_job(tmp_path, store, steps=2, save_every=1, previews=2).run(editor, lose)
    assert report.record.step == 2 and report.record.skipped == tuple(gone)
    assert f"Left out because their files are missing: {', '.join(gone)}." in str(report)


def test_a_second_process_does_not_train_the_same_run(editor, store, tmp_path):
    job, found = make_job(tmp_path, store, steps=1), []

    def again(progress):
        with pytest.raises(RethinkError, match="another process is training learned-.* right now"):
            job.run(editor)
        found.append(progress)

    job.run(editor, again)
    assert found


def test_an_output_that_is_locked_is_said_and_the_lora_kept(editor, store, tmp_path, monkeypatch):
    job = make_job(tmp_path, store, steps=1)
    replace = os.replace

    def refuse(source, target):
        if target == job.output:
            raise PermissionError(13, "Permission denied")
        replace(source, target)

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(
        RethinkError, match="output: .* cannot be replaced .*; close the program.* is kept: .*step-000001"
    ):
        job.run(editor)


def test_a_disk_that_is_full_leaves_the_save_before(editor, store, tmp_path, monkeypatch):
    job = make_job(tmp_path, store, steps=4, save_every=2)
    write = safetensors.torch.save_file

    def fill(tensors, path, header):
        if "step-000004" in str(path):
            path.write_bytes(b"half")
            raise safetensors.SafetensorError("I/O error: No space left on device (os error 28)")
        write(tensors, path, header)

    with monkeypatch.context() as patch:
        patch.setattr("safetensors.torch.save_file", fill)
        with pytest.raises(
            RethinkError, match="folder: .* cannot be written .*No space left.* resume from the newest save"
        ):
            job.run(editor)
    run = next((tmp_path / "runs").glob("learned-*"))
    assert [path.name for path in (run / "saves").iterdir()] == ["step-000002.safetensors"]
    lines = []
    assert job.run(editor, lambda progress: lines.append(progress.line)).record.step == 4
    assert [line.split()[1] for line in lines if line.startswith("step")] == ["3", "4"]


def test_a_kill_while_a_state_is_written_leaves_the_one_before(editor, store, tmp_path, monkeypatch):
    job = make_job(tmp_path, store, steps=4, save_every=2)
    with monkeypatch.context() as patch:
        write, calls = LoraSaves.write_record, []

        def die_at_second(saves, record):
            calls.append(record)
            if len(calls) == 2:
                raise SystemExit
            write(saves, record)

        patch.setattr(LoraSaves, "write_record", die_at_second)
        patch.setattr(LoraTraining, "_keep_newest", lambda training, why: None)  # after kill -9 nothing is
        with pytest.raises(SystemExit):
            job.run(editor)
    state = next((tmp_path / "runs").rglob("state.safetensors"))
    with safe_open(state, "pt") as file:
        assert len(json.loads(file.metadata()["record"])["losses"]) == 4
        assert not any("unet" in name or "conv" in name for name in file.keys())  # noqa: SIM118
    assert state.stat().st_size < 200_000  # the LoRA and its optimizer alone
    assert job.run(editor, pytest.fail).record.step == 4


@pytest.mark.parametrize("count", [2, 3, 6])
def test_fewer_pairs_than_a_batch_are_trained_on(editor, tmp_path, count):
    job = make_job(tmp_path, write_pairs(tmp_path / "pairs", count), steps=1, batch=16)
    report = job.run(editor)
    assert report.record.step == 1 and len(report.record.held_out) == (2 if count == 6 else 0)


def test_what_it_leaves(editor, store, tmp_path):
    report = make_job(tmp_path, store, steps=2, save_every=1, previews=1).run(editor)
    record = json.loads((report.folder / "training.json").read_text(encoding="utf-8"))
    chosen = choose_save(LoraRun(report.folder).read_record().saves, 2)
    assert (record["best"], record["why"]) == chosen and "on 2 held-out pairs" in record["why"]
    assert record["memory"] > 0 and record["rates"] == [[1, 1e-2]] and record["steps"] == 2
    assert all(set(save["scores"][0]) == {"changed", "kept"} for save in record["saves"])
    best = report.folder / "saves" / f"step-{record['best']:06d}.safetensors"
    assert report.output.read_bytes() == best.read_bytes()
    with safe_open(report.output, "pt") as file:
        header = file.metadata()
        alphas = [file.get_tensor(name) for name in file.keys() if name.endswith("alpha")]  # noqa: SIM118
    assert header["ss_base_model_version"] == "sd_1.5" and json.loads(header["ss_tag_frequency"])
    assert all(alpha == 2 for alpha in alphas)
    page = (report.folder / "report.html").read_text(encoding="utf-8")
    assert (
        page.count("data:image/png;base64,") == 5
        and "<polyline" in page
        and "http" not in page.replace("http-equiv", "")
    )
    assert f"{len(alphas)} of {len(alphas)} layers fit" in str(report)
    assert not any(module._forward_hooks for module in editor.module.modules())


def test_other_instructions_are_held_to_what_the_editor_said(editor, store, tmp_path):
    """By how far the trained LoRA moves the editor's answers to them, with and without."""

    def drift(keep):
        job = make_job(tmp_path / keep, store, steps=6, save_every=6, keep=keep, replay=4, learning_rate=3e-2)
        trained = load_file(job.run(editor).output)
        training = open_training(editor, make_job(tmp_path / keep / "measured", store, keep="high", replay=4))
        stems = {name: "lora_unet_" + name.replace(".", "_") for name in training.lora.names}
        pairs = {name: (f"{stem}.lora_down.weight", f"{stem}.lora_up.weight") for name, stem in stems.items()}
        training.lora.load_factors({name: (trained[down], trained[up]) for name, (down, up) in pairs.items()})
        with training.lora.attached(), torch.no_grad():
            return training.objective.drift(
                training.examples.load(training.examples.replay_keys), generator_of("drift")
            ).item()

    assert drift("high") < 0.7 * drift("off")


@pytest.mark.parametrize(("keep", "steps"), [("high", 4), ("default", 8), ("low", 16)])
def test_all_edits_that_are_kept_have_their_turn(editor, store, tmp_path, monkeypatch, keep, steps):
    training = open_training(editor, make_job(tmp_path, store, batch=1, keep=keep, replay=4))
    numbers, batch = [], LoraExamples.replay_batch
    monkeypatch.setattr(
        LoraExamples, "replay_batch", lambda self, number: (numbers.append(number), batch(self, number))[1]
    )
    with training.model.computing(1), training.lora.attached():
        for step in range(steps):
            training.step(step)
    assert numbers == [0, 1, 2, 3]


def test_a_loss_that_is_no_number_ends_it_and_keeps_what_was_good(editor, store, tmp_path, monkeypatch):
    job, loss, calls = make_job(tmp_path, store, steps=9, save_every=3), LoraObjective.loss, []

    def poisoned(objective, batch, generator):
        calls.append(batch)
        return loss(objective, batch, generator) * (float("nan") if len(calls) > 4 else 1)

    monkeypatch.setattr(LoraObjective, "loss", poisoned)
    with pytest.raises(RethinkError, match="not a number at step 5, with the pairs 0000.*weights so far are kept"):
        job.run(editor)
    assert all(torch.isfinite(weight).all() for weight in load_file(job.output).values())


def test_numbers_that_are_none_on_a_held_out_pair_are_said(editor, store, tmp_path, monkeypatch):
    job = make_job(tmp_path, store, steps=4, save_every=2)
    with monkeypatch.context() as patch:
        patch.setattr(LoraObjective, "held_out_losses", lambda *_: [float("nan"), 0.1])
        with pytest.raises(RethinkError, match="not a number at step 2, with the pairs 0000.*weights so far are kept"):
            job.run(editor)
    encode = EditModel.encode

    def broken(model, *images):
        example = encode(model, *images)
        example.target.fill_(float("nan"))
        return example

    monkeypatch.setattr(EditModel, "encode", broken)
    with pytest.raises(RethinkError, match="pairs: 0000.*: its latents are not finite; load the editor in bf16"):
        make_job(tmp_path / "other", store).run(editor)


def test_memory_that_runs_out_says_what_to_lower(editor, store, tmp_path, monkeypatch):
    def exhausted(objective, batch, generator):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(LoraObjective, "loss", exhausted)
    with pytest.raises(
        OutOfMemoryError, match=r"batch \(it is 4; .*\); load the editor quantized.*; optimizer .* rank \(it is 2\)\."
    ):
        make_job(tmp_path, store).run(editor)


def test_what_cannot_be_trained_is_said_before_any_work(editor, store, root, tmp_path, monkeypatch):
    with pytest.raises(RethinkError, match="rank: expected 1 to 32"):
        make_job(tmp_path, store, rank=33).run(editor)
    with pytest.raises(RethinkError, match="no trainer for SDEdit yet"):
        make_job(tmp_path, store).run(editor_miniatures.opened("sdedit", root))
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(RethinkError, match="folder: .* needs about [0-9]+ MiB .* the disk has 1 MiB left"):
        make_job(tmp_path, store).run(editor)
    assert not list(tmp_path.rglob("saves"))


def test_layers_smaller_than_the_rank_are_named_in_the_report(editor, store, tmp_path):
    report = make_job(tmp_path, store, layers="all", rank=5, steps=1).run(editor)
    assert report.check.matched and "Layers not trained because they are smaller than the rank: conv_out" in str(report)
    assert "Layers not trained" not in str(
        make_job(tmp_path / "small", store, layers="all", rank=4, steps=1).run(editor)
    )


def test_weights_made_in_inference_mode_are_trained_over(store, tmp_path):
    with torch.inference_mode():  # as ComfyUI runs nodes
        editor = editor_miniatures.opened("instruct_pix2pix", tmp_path)
        assert make_job(tmp_path, store, steps=1).run(editor).record.step == 1


def test_references_are_refused_before_any_work_where_the_family_takes_none(editor, tmp_path, monkeypatch):
    monkeypatch.setattr(EditModel, "encode", pytest.fail)
    pairs = write_pairs(tmp_path / "pairs", 4, references=(0, 0, 1))
    with pytest.raises(RethinkError, match="pairs: 0{15}2 .* has 1 reference, but InstructPix2Pix takes none"):
        make_job(tmp_path, pairs).run(editor)
    assert not (tmp_path / "runs").exists()
