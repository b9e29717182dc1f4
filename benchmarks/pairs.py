"""Compare pair making with the plain way: damaging images, drawing candidates, and the value of the filter.

    python benchmarks/pairs.py [--only procedural p2p filter] [--photos N] [--captions N] [--edits N]

Procedural: images to pairs on disk, ours in two processes (and one, and four) against a single-process loop over Pillow
with the same operations and files, once with Pillow's default PNG compression and once compressing as lightly as ours.
Prompt-to-Prompt: accepted pairs per second, ours in batches with hopeless candidates dropped early by their sketches, against one
candidate at a time with a filter afterward; same seeds, same thresholds (reached by one candidate in six), and the paper's
100 Euler ancestral steps. The text-to-image model is the built-in editor without its image: plain as diffusers loads it, ours
after `optimize_pipeline`; if that uses bf16, `p2p_speedup_same_precision` also runs the plain way in bf16.
Filter: the built-in world's exact oracle decides which pairs are right; the thresholds are fitted to one half of the pairs
and judged on the other.
Prints tables for people; the last line is one JSON object.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from pairs_procedural import procedural

from rethink.builtin import CLIP_FOLDER, EDITOR_FOLDER
from rethink.editors.loading import load_editor
from rethink.editors.settings import Settings
from rethink.evaluation.clip_similarity import Clip, similarities
from rethink.images import to_pixels
from rethink.pairs.from_captions.caption_edits import CaptionEdit
from rethink.pairs.from_captions.prompt_to_prompt import P2PConfig, generate, preview_sample
from rethink.pairs.from_captions.selection import (
    SCORES,
    CandidateSampler,
    EarlyStop,
    Selection,
    SelectionStats,
)
from rethink.pairs.from_captions.text_to_image import optimize_pipeline
from rethink.pairs.pixels import encode_png
from rethink.pairs.store import PairStore
from rethink.tiny import judge, render, sample_task
from rethink.tiny.scene import PLACES
from rethink.tiny.tasks import TRAIN_LOOKS

LOOKS = {10: 0.2}  # steps of a sketch: the share of good candidates it may cost
CALIBRATING = 8  # pairs of captions to fit thresholds and slacks to; they are not timed
ACCEPTED = 1 / 6
ALONE = 3  # candidates per pair of captions that the plain way also draws in our precision, to time it
DRAWING = P2PConfig(guidance=(1.0, 4.0))


# --- Prompt-to-Prompt ------------------------------------------------------------------------------------------------


class Painter(torch.nn.Module):
    """The built-in editor without its image, which was often dropped in training, as a text-to-image model: asked to add a
    red star, it makes up the scene around it."""

    def __init__(self, pipeline):
        super().__init__()
        self.inner, self.text_encoder = pipeline.unet, pipeline.text_encoder
        self.vae, self.scheduler, self.tokenizer = pipeline.vae, pipeline.scheduler, pipeline.tokenizer
        channels = pipeline.vae.config.latent_channels
        self.config = SimpleNamespace(sample_size=pipeline.unet.config.sample_size, in_channels=channels)
        self._execution_device, self.dtype = pipeline._execution_device, pipeline.unet.dtype
        self.maybe_free_model_hooks = pipeline.maybe_free_model_hooks

    @property
    def unet(self):
        return self

    def encode_prompt(self, captions, **options):
        texts = [*(f"add {caption}" for caption in captions), *[""] * len(captions)]
        length = self.tokenizer.model_max_length
        tokens = self.tokenizer(texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
        return self.text_encoder(tokens.input_ids)[0].chunk(2)

    def forward(self, sample, timestep, encoder_hidden_states, added_cond_kwargs, return_dict):
        sample = torch.cat([sample, torch.zeros_like(sample)], 1)
        return self.inner(sample, timestep, encoder_hidden_states=encoder_hidden_states, return_dict=return_dict)

    @property
    def attn_processors(self):
        return self.inner.attn_processors

    def set_attn_processor(self, processor):
        self.inner.set_attn_processor(processor)


def open_pipeline(folder):
    import diffusers

    return diffusers.StableDiffusionInstructPix2PixPipeline.from_pretrained(
        str(folder), safety_checker=None, local_files_only=True, use_safetensors=True
    ).to(torch.float32)


def some_triples(count):
    """A thing at a place, and another at the same place."""
    rng = Random(1)
    triples = []
    for _ in range(count):
        place, ((color, shape), (other_color, other_shape)) = rng.choice(PLACES), rng.sample(TRAIN_LOOKS, 2)
        before, after = f"a {color} {shape} at the {place}", f"a {other_color} {other_shape} at the {place}"
        triples.append(CaptionEdit(before, f"make it a {other_color} {other_shape}", after))
    return triples


def fitted(painter, clip, triples, candidates):
    """Thresholds that ACCEPTED of all candidates pass, and for each look the slacks that cost few of those."""
    table = {steps: [] for steps in (*LOOKS, DRAWING.steps)}
    for number, triple in enumerate(triples):
        texts = clip.texts([triple.input, triple.output])
        for steps, rows in table.items():
            draw = partial(preview_sample, steps=steps) if steps in LOOKS else generate
            for start in range(0, candidates, 16):
                seeds = [candidates * number + start + i for i in range(16)]
                made = draw(painter, triple.input, triple.output, seeds, config=DRAWING)
                rows += [[scored[name] for name in SCORES] for scored in plain_scores(clip, texts, made)]
    estimates = {steps: np.array(rows) for steps, rows in table.items()}
    final = estimates[DRAWING.steps]

    def thresholds(strictness):
        image, first, second, direction = np.diag(
            np.quantile(final, strictness * np.array([0.2, 0.3, 0.3, 0.6]), axis=0)
        )
        return np.array([image, *[min(first, second)] * 2, direction])

    least = min(
        (thresholds(strictness) for strictness in np.linspace(0.1, 1.6, 151)),
        key=lambda least: abs((final >= least).all(1).mean() - ACCEPTED),
    )
    good, (image, caption, _, direction) = (final >= least).all(1), least.tolist()
    looks = tuple(EarlyStop(steps, *slacks(estimates[steps], least, good, loss)) for steps, loss in LOOKS.items())
    return Selection(candidates, image=image, caption=caption, direction=direction, looks=looks, best=candidates)


def slacks(estimates, least, good, loss):
    """(image, caption, direction): slacks that each lose the same share of good candidates, all together `loss`."""
    short = least - estimates
    short = np.stack([short[:, 0], short[:, 1:3].max(1), short[:, 3]], 1)
    tried = (np.quantile(short[good], 1 - part, axis=0) for part in np.linspace(loss, 0, 41))
    return next(slack for slack in tried if (short[good] > slack).any(1).mean() <= loss).tolist()


def plain_scores(clip, texts, made):
    pixels = list(to_pixels(torch.cat([made.before, made.after])))
    return similarities(clip.images(pixels).unflatten(0, (2, -1)), texts[:, None].expand(-1, len(made.seeds), -1))


def plain_pairs(painter, clip, texts, triple, seeds, rule, file):
    """The records of the accepted candidates, drawn one by one and filtered afterward."""
    accepted = []
    for seed in seeds:
        made = generate(painter, triple.input, triple.output, [seed], DRAWING)
        (scored,) = plain_scores(clip, texts, made)
        if not rule.misses(scored):
            accepted.append({**scored, "p2p_threshold": made.thresholds[0], "cfg_scale": made.guidances[0]})
            for side in (made.before, made.after):
                file.write_bytes(encode_png(to_pixels(side[0])))
    return accepted


def prompt_to_prompt(editor_folder, clip_folder, captions, candidates, batch):
    painter, plain = Painter(optimize_pipeline(open_pipeline(editor_folder))), Painter(open_pipeline(editor_folder))
    clip = Clip(clip_folder)
    triples = some_triples(CALIBRATING + captions)
    rule = replace(fitted(painter, clip, triples[:CALIBRATING], candidates), batch=batch, audited=0.05)
    print(
        f"\nPrompt-to-Prompt: {captions} pairs of captions, {candidates} candidates each, {DRAWING.steps} steps; {rule}"
    )
    seconds, stats, accepted = {"plain": 0.0, "ours": 0.0, "alone": 0.0}, SelectionStats(), {"plain": [], "ours": []}
    with tempfile.TemporaryDirectory() as folder:
        drawer, file = CandidateSampler(PairStore(folder), painter, clip, DRAWING, rule), Path(folder, "plain.png")
        for triple in triples[CALIBRATING:]:
            start = time.perf_counter()
            drawn = drawer(triple)
            seconds["ours"] += time.perf_counter() - start
            stats += drawn.stats
            accepted["ours"] += [pair.parameters for pair in drawn.pairs]

            start = time.perf_counter()
            texts = clip.texts([triple.input, triple.output])
            accepted["plain"] += plain_pairs(plain, clip, texts, triple, drawer.seeds(triple), rule, file)
            seconds["plain"] += time.perf_counter() - start

            start = time.perf_counter()
            plain_pairs(painter, clip, texts, triple, drawer.seeds(triple)[:ALONE], rule, file)
            seconds["alone"] += (time.perf_counter() - start) * candidates / ALONE
    if not (accepted["plain"] and accepted["ours"]):
        raise SystemExit("No candidate was good enough for a comparison; give more --captions or --candidates.")
    plain_rate, rate = len(accepted["plain"]) / seconds["plain"], stats.passed / seconds["ours"]
    lost = 1 - stats.passed / len(accepted["plain"])
    apart = {
        name: distance(*([pair[name] for pair in pairs] for pairs in accepted.values()))
        for name in accepted["plain"][0]
    }
    print(f"{'':>8} {'accepted':>9} {'seconds':>9} {'per sec.':>9}")
    print(f"{'plain':>8} {len(accepted['plain']):>9} {seconds['plain']:>9.1f} {plain_rate:>9.3f}")
    print(f"{'ours':>8} {stats.passed:>9} {seconds['ours']:>9.1f} {rate:>9.3f}")
    print(
        f"Dropped early: {stats.dropped} of {stats.drawn}; of {stats.audited} audited {stats.false_rejects} were good; "
        f"estimated loss {stats.estimated_loss:.1%}, true loss {lost:.1%}"
    )
    print(
        "Accepted pairs, distance between the distributions: "
        + ", ".join(f"{name} {gap:.3f}" for name, gap in apart.items())
    )
    return {
        "p2p_speedup": rate / plain_rate,
        "p2p_speedup_same_precision": rate / plain_rate * seconds["alone"] / seconds["plain"],
        "p2p_accepted": stats.passed,
        "p2p_accepted_plain": len(accepted["plain"]),
        "p2p_dropped": stats.dropped / stats.drawn,
        "p2p_lost": lost,
        "p2p_lost_estimate": stats.estimated_loss,
        "p2p_distance": max(apart.values()),
    }


def distance(a, b):
    """The largest gap between two cumulative distributions (Kolmogorov-Smirnov)."""
    a, b = np.sort(a), np.sort(b)
    points = np.concatenate([a, b])
    return float(
        np.abs(np.searchsorted(a, points, "right") / len(a) - np.searchsorted(b, points, "right") / len(b)).max()
    )


# --- filter ----------------------------------------------------------------------------------------------------------


def edited_pairs(editor_folder, clip, count):
    """(scores, whether right) of pairs made by the built-in editor at guidance scales drawn as widely as in the paper."""
    editor, pairs, rng = load_editor(editor_folder), [], Random(0)
    tasks = (task for task in map(sample_task, range(10**9)) if len(task.accepted) == 1)
    while len(pairs) < count:
        batch = [next(tasks) for _ in range(16)]
        settings = Settings(
            steps=rng.choice((1, 2, 4)), text_guidance=rng.uniform(0.3, 4), image_guidance=rng.uniform(0.3, 2)
        )
        before = render([task.source for task in batch])
        seeds = [rng.getrandbits(32) for _ in batch]
        after = editor.edit(editor.prepare(before), [task.instruction for task in batch], seeds, settings)
        texts = clip.texts([t.source.caption for t in batch] + [t.target.caption for t in batch]).unflatten(0, (2, -1))
        pixels = list(to_pixels(torch.cat([before, after])))
        scores = similarities(clip.images(pixels).unflatten(0, (2, -1)), texts)
        pairs += [(s, judge(after[i : i + 1], task).success) for i, (s, task) in enumerate(zip(scores, batch))]
    return pairs


def quality(editor_folder, clip_folder, count):
    pairs = edited_pairs(editor_folder, Clip(clip_folder), count)
    half = len(pairs) // 2
    fit, held = pairs[:half], pairs[half:]
    rule = adapted(fit)
    kept = [right for scores, right in held if not rule.misses(scores)]
    before, after = statistics.mean(right for _, right in held), statistics.mean(kept)
    recall = sum(kept) / sum(right for _, right in held)
    area = auc(held, "clip_sim_dir")
    print(
        f"\nFilter, {len(held)} held-out pairs: right unfiltered {before:.1%}, kept {len(kept)} of which right {after:.1%} "
        f"({recall:.0%} of the right ones); AUC of the direction {area:.3f}, of the image similarity "
        f"{auc(held, 'clip_sim_image'):.3f}, of the edited caption {auc(held, 'clip_sim_1'):.3f}"
    )
    print(f"Thresholds: image {rule.image:.3f}, caption {rule.caption:.3f}, direction {rule.direction:.3f}")
    return {
        "filter_precision_gain": after - before,
        "filter_precision": after,
        "filter_recall": recall,
        "direction_auc": area,
    }


def adapted(pairs):
    """The thresholds of the paper on this CLIP's scale: the most precise ones that keep half of the right pairs."""
    columns = {
        name: np.array([scores[name] for scores, _ in pairs])
        for name in ("clip_sim_image", "clip_sim_1", "clip_sim_dir")
    }
    right = np.array([ok for _, ok in pairs])
    grids = [[-1.0, *np.quantile(column, np.linspace(0.05, 0.7, 14))] for column in columns.values()]
    best = (0.0, (-1.0, -1.0, -1.0))
    for image in grids[0]:
        for caption in grids[1]:
            for direction in grids[2]:
                kept = np.logical_and.reduce([c >= t for c, t in zip(columns.values(), (image, caption, direction))])
                if (kept & right).sum() >= 0.5 * right.sum():
                    best = max(best, (right[kept].mean(), (image, caption, direction)))
    image, caption, direction = map(float, best[1])
    return Selection(image=image, caption=caption, direction=direction)


def auc(pairs, name):
    """The probability that a right pair scores higher than a wrong one (Mann-Whitney)."""
    values = np.array([scores[name] for scores, _ in pairs])
    right = np.array([ok for _, ok in pairs])
    ranks = values.argsort().argsort() + 1
    return float((ranks[right].sum() - right.sum() * (right.sum() + 1) / 2) / (right.sum() * (~right).sum()))


def main():
    parts = ("procedural", "p2p", "filter")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    parser.add_argument("--photos", type=int, default=240)
    parser.add_argument("--captions", type=int, default=8)
    parser.add_argument("--candidates", type=int, default=48)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--edits", type=int, default=800)
    parser.add_argument("--editor", type=Path, default=EDITOR_FOLDER, help="an InstructPix2Pix diffusers folder")
    parser.add_argument("--clip", type=Path, default=CLIP_FOLDER, help="a CLIPModel folder")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    figures = {}
    if "procedural" in arguments.only:
        figures |= procedural(arguments.photos)
    if "p2p" in arguments.only:
        with torch.inference_mode():
            figures |= prompt_to_prompt(
                arguments.editor, arguments.clip, arguments.captions, arguments.candidates, arguments.batch
            )
    if "filter" in arguments.only:
        figures |= quality(arguments.editor, arguments.clip, arguments.edits)
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in figures.items()}))


if __name__ == "__main__":
    main()
