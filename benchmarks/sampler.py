"""Compare Rethink's sampler with the plain diffusers InstructPix2Pix pipeline: time, success, encodes, memory.

    python benchmarks/sampler.py [--editor FOLDER] [--cases N] [--threads N]

Times are medians over edits; ratios are of medians of one run, with ours and theirs in turn. Success is judged by the
built-in world's exact oracle on held-out scenes. Both sides get the same images, instructions, seeds and weights.
Prints tables for people; the last line is one JSON object.
"""

import argparse
import json
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from rethink.builtin import EDITOR_FOLDER
from rethink.editors.loading import load_editor
from rethink.editors.settings import Settings
from rethink.tiny import judge, render, sample_task

BATCH = 20
POINT = 0.01
PLAIN_STEPS = 100  # the plain pipeline's default
PLAIN_SCALES = ((7.5, 1.5), (3.0, 1.5), (1.5, 1.5), (1.5, 1.0))  # (text, image); the first are its defaults
OUR_SCALES = ((1.0, 1.0), (1.5, 1.0), (1.5, 1.5), (3.0, 1.5))
OUR_STEPS = (1, 2, 4, 8)
OUR_SAMPLERS = ("default", "ddim", "dpmpp_2m", "unipc", "euler_ancestral")


class Ours:
    def __init__(self, folder):
        self.editor = load_editor(folder)

    def __call__(self, images, instructions, seeds, settings):
        return self.editor.edit(self.editor.prepare(images), instructions, seeds, settings)


class Plain:
    def __init__(self, folder):
        from diffusers import StableDiffusionInstructPix2PixPipeline

        self.pipeline = StableDiffusionInstructPix2PixPipeline.from_pretrained(
            folder, safety_checker=None, local_files_only=True, torch_dtype=torch.float32
        )
        self.pipeline.set_progress_bar_config(disable=True)

    def __call__(self, images, instructions, seeds, settings):
        return self.pipeline(
            instructions,
            image=images.movedim(-1, 1),
            num_inference_steps=settings.steps,
            guidance_scale=settings.text_guidance,
            image_guidance_scale=settings.image_guidance,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            output_type="pt",
        ).images.movedim(1, -1)


def milliseconds(contenders, tasks):
    """Median milliseconds of one edit for each (edit, settings), taken in turn over the tasks after a warm-up."""
    taken = [[] for _ in contenders]
    for seed, task in enumerate([tasks[0], *tasks]):
        image = render([task.source])
        for (edit, settings), times in zip(contenders, taken):
            image = image.clone()  # an image that no cache has seen
            start = time.perf_counter()
            edit(image, [task.instruction], [seed], settings)
            times.append((time.perf_counter() - start) * 1000)
    return [statistics.median(times[1:]) for times in taken]


def success(edit, settings, tasks):
    """The share of tasks that the oracle calls done with the rest kept."""
    passed = 0
    for start in range(0, len(tasks), BATCH):
        batch = tasks[start : start + BATCH]
        seeds = list(range(start, start + len(batch)))
        edited = edit(render([t.source for t in batch]), [t.instruction for t in batch], seeds, settings)
        passed += sum(judge(edited[i : i + 1], task).success for i, task in enumerate(batch))
    return passed / len(tasks)


def scales(settings):
    return f"text {settings.text_guidance:g}, image {settings.image_guidance:g}"


def memory(ours, tasks):
    """Peak memory of the process after a hundred edits over that after ten; None if the system does not report it."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    for turn in range(100):
        task = tasks[turn % len(tasks)]
        ours(render([task.source]), [task.instruction], [turn], Settings())
        if turn == 9:
            first_ten = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ratio = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / first_ten
    print(f"\nMemory: peak after 100 edits / after 10: {ratio:.3f}")
    return ratio


def equal_settings(ours, plain, tasks):
    """The worst ratio ours / plain over a few step counts at the plain pipeline's own scales."""
    print(
        "\nEqual settings (text 7.5, image 1.5, the model's own scheduler), a new image and instruction for each edit"
    )
    print(f"{'steps':>6} {'plain ms':>10} {'ours ms':>10} {'ours/plain':>11}")
    ratios = []
    for steps, cases in ((4, 60), (20, 15)):
        settings = Settings(steps=steps, text_guidance=7.5, image_guidance=1.5)
        theirs, own = milliseconds([(plain, settings), (ours, settings)], (tasks * cases)[:cases])
        ratios.append(own / theirs)
        print(f"{steps:>6} {theirs:>10.1f} {own:>10.1f} {ratios[-1]:>11.3f}")
    return max(ratios)


def encodes(ours, task):
    """How often the source is encoded for three turns of four instructions and seeds each."""
    vae, calls = ours.editor.module["vae"], []
    original = vae.encode
    vae.encode = lambda *args, **options: calls.append(1) or original(*args, **options)
    image = render([task.source])
    for _turn in range(3):
        ours(image, [task.instruction, "make it red", "add a circle", "remove it"], list(range(4)), Settings(steps=1))
    vae.encode = original
    print(f"\nSource encoded {len(calls)} time(s) for 3 turns × 4 instructions and seeds")
    return len(calls)


def curve(ours, tasks):
    """Success over milliseconds: steps × guidance with the model's own solver, then solvers at the best guidance."""
    print(f"\nOurs, {len(tasks)} cases each\n{'sampler':>16} {'steps':>6}  {'guidance':<20} {'ms':>8} {'success':>8}")

    def measure(settings):
        rate = success(ours, settings, tasks)
        (ms,) = milliseconds([(ours, settings)], tasks[:5])
        print(f"{settings.sampler:>16} {settings.steps:>6}  {scales(settings):<20} {ms:>8.1f} {rate:>8.1%}", flush=True)
        return rate

    grid = [Settings(steps=n, text_guidance=t, image_guidance=i) for t, i in OUR_SCALES for n in OUR_STEPS]
    best = max(grid, key=measure)
    for sampler in OUR_SAMPLERS[1:]:
        for steps in OUR_STEPS:
            measure(replace(best, sampler=sampler, steps=steps))


def equal_success(ours, plain, tasks):
    """Time ratio of our defaults to the plain pipeline's, or None if ours succeeds less often by over a point."""
    few = tasks[: max(BATCH, len(tasks) // 4)]
    print(f"\nPlain pipeline at its {PLAIN_STEPS} steps, three passes each: its best scales ({len(few)} cases)")
    sweep = {}
    for text, image in PLAIN_SCALES:
        settings = Settings(steps=PLAIN_STEPS, text_guidance=text, image_guidance=image)
        sweep[settings] = success(plain, settings, few)
        print(f"  {scales(settings):<20} {sweep[settings]:>8.1%}", flush=True)
    theirs, own = max(sweep, key=sweep.get), ours.editor.defaults
    rates = success(plain, theirs, tasks), success(ours, own, tasks)
    times = milliseconds([(plain, theirs), (ours, own)], tasks[:5])
    print(
        f"\nDefaults against defaults, {len(tasks)} cases\n{'':>8} {'steps':>6}  {'guidance':<20} {'ms':>8} {'success':>8}"
    )
    for name, settings, ms, rate in zip(("plain", "ours"), (theirs, own), times, rates):
        print(f"{name:>8} {settings.steps:>6}  {scales(settings):<20} {ms:>8.1f} {rate:>8.1%}")
    if rates[1] < rates[0] - POINT:
        print("Ours succeeds less often, so there is no ratio at equal success.")
        return None, rates
    return times[1] / times[0], rates


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--editor", type=Path, default=EDITOR_FOLDER, help="an InstructPix2Pix diffusers folder")
    parser.add_argument("--cases", type=int, default=100, help="held-out tasks to judge success on")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    tasks = [sample_task(seed) for seed in range(arguments.cases)]
    ours = Ours(arguments.editor)
    grown = memory(ours, tasks)  # first, while the peak is ours alone
    plain = Plain(arguments.editor)
    settings_ratio = equal_settings(ours, plain, tasks)
    encoded = encodes(ours, tasks[0])
    curve(ours, tasks)
    success_ratio, (plain_rate, our_rate) = equal_success(ours, plain, tasks)
    figures = {
        "time_ratio_equal_settings": settings_ratio,
        "time_ratio_equal_success": success_ratio,
        "success": our_rate,
        "success_plain": plain_rate,
        "source_encodes": encoded,
        "peak_memory_ratio": grown,
        "cases": arguments.cases,
        "threads": arguments.threads,
    }
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in figures.items()}))


if __name__ == "__main__":
    main()
