"""The commands that make pairs: `synthesize`, `caption-edits`, `p2p`, `filter`. Each turns its arguments into a job of the
library and runs it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..atomic import check_target
from ..errors import RethinkError
from ..progress import format_count, format_duration
from ..text_files import read_json
from .arguments import EXAMPLES, add_command, add_field
from .datasets import add_export, add_inspect
from .editor_options import EDITORS, add_device, add_loading_options, add_lora_option
from .pair_options import add_engine, add_thinker, clip_from, editor_from, engine_from, text_to_image_from, thinker_from
from .progress import ProgressLine, print_counts, print_result

if TYPE_CHECKING:
    from ..pairs.from_captions.selection import EarlyStop


def add_commands(commands) -> None:
    """Add the commands to the subparsers of `python -m rethink`."""
    _add_synthesize(commands)
    _add_caption_edits(commands)
    _add_p2p(commands)
    _add_filter(commands)
    add_export(commands)
    add_inspect(commands)


# synthesize


def _add_synthesize(commands) -> None:
    from ..pairs.inverse.drafts import MASK_FREE, SynthesisConfig
    from ..pairs.inverse.job import SynthesisJob

    about = "make pairs by damaging real images; the editor learns to undo the damage"
    parser = add_command(commands, "synthesize", about, run_synthesize)
    parser.add_argument("images", type=Path, help="folder of images, including its subfolders")
    parser.add_argument("store", type=Path, help="folder of the pairs, new or existing")
    parser.add_argument(
        "--operations",
        nargs="+",
        default=list(MASK_FREE),
        metavar="NAME",
        help="default: all operations that need no mask",
    )
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="OP.NAME=VALUES",
        help="set parameters, e.g. cover.fill=black,white blur.strength=0.1,0.2",
    )
    for name in ("pairs", "seed", "longest_side", "area"):
        add_field(parser, SynthesisConfig, name)
    parser.add_argument(
        "--masks",
        type=Path,
        help="folder of masks with the same file names, any image format; white, or opaque in a cutout, marks the subject",
    )
    parser.add_argument(
        "--boxes",
        type=Path,
        help='JSON {"name": [{"box": [l, t, r, b], "place": …, "hidden": …}]}, coordinates as fractions from 0 to 1; names relative to the images folder, in upper or lower case',
    )
    parser.add_argument("--templates", type=Path, help='JSON {"operation": ["Remove the {thing}.", …]}')
    add_engine(parser, "damage (or edit) and describe")
    add_loading_options(parser, None, f"makes the --inverse edit instead of an operation: {EDITORS}")
    for name in ("inverse", "find", "place"):
        add_field(parser, SynthesisJob, name)
    add_field(parser, SynthesisJob, "description", "--hidden")
    add_field(parser, SynthesisJob, "paraphrase")
    parser.epilog = f"{_operations()}\n\n{EXAMPLES}"
    add_thinker(parser)
    add_device(parser)


def _operations() -> str:
    """The choices for --operations and --set."""
    from ..pairs.inverse.operations import OPERATIONS, Range

    def values(span) -> str:
        return f"{span.low},{span.high}" if isinstance(span, Range) else ",".join(span.choices)

    needs = {"selection": "  (needs masks, boxes or --find)", "subject": "  (needs masks)"}
    lines = [
        f"  {id:16}{'  '.join(f'{name}={values(span)}' for name, span in op.ranges.items())}{needs.get(op.where, '')}"
        for id, op in OPERATIONS.items()
    ]
    return "\n".join(["operations, and the values their parameters are drawn from:", *lines])


def run_synthesize(options) -> int:
    """Make pairs by inverse edits."""
    from ..pairs.inverse.drafts import SynthesisConfig
    from ..pairs.inverse.job import SynthesisJob
    from ..pairs.inverse.sources import ImageFolder, read_boxes_file

    boxes = read_boxes_file(options.boxes) if options.boxes else None
    config = SynthesisConfig(
        tuple(options.operations),
        _ranges(options.set),
        options.pairs,
        options.seed,
        options.longest_side,
        tuple(options.area),
    )
    job = SynthesisJob(
        ImageFolder(options.images.absolute(), options.masks and options.masks.absolute(), boxes),
        options.store.absolute(),
        config,
        editor_from(options),
        thinker_from(options),
        options.inverse,
        options.find,
        options.place,
        options.description,
        options.paraphrase,
        _templates(options.templates),
    )
    engine = engine_from(options)
    if job.coverage:
        print(job.coverage, flush=True)
    report = job.run(ProgressLine(), engine)
    done = report.progress
    print_result(
        f"{format_count(done.made, 'pair')} made, {done.skipped} skipped, {format_duration(done.seconds)} → {options.store}",
        *report.stray_seeds,
    )
    if done.skipped:
        print(f"Why: {report.pairs.skipped.path}")
    return 0


def _ranges(settings: list[str]) -> dict[str, dict]:
    ranges: dict[str, dict] = {}
    for setting in settings:
        target, equals, values = setting.partition("=")
        id, dot, name = target.partition(".")
        if not (equals and dot and values):
            raise RethinkError(f"--set: expected OPERATION.NAME=VALUES, got {setting!r}.")
        parts = [_number(part) for part in values.split(",")]
        ranges.setdefault(id, {})[name] = parts if len(parts) > 1 else parts[0]
    return ranges


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _templates(path: Path | None) -> dict[str, list[str]]:
    if path is None:
        return {}
    record: Any = read_json(path, "--templates")
    try:
        return {str(id): [str(template) for template in templates] for id, templates in record.items()}
    except (AttributeError, TypeError) as error:
        raise RethinkError(f"--templates: cannot read {path}: {error}") from error


# caption-edits


def _add_caption_edits(commands) -> None:
    from ..pairs.from_captions.caption_job import CaptionJob

    parser = add_command(
        commands, "caption-edits", "turn captions into instructions and edited captions", run_caption_edits
    )
    parser.add_argument("captions", type=Path, help='one caption per line, or .jsonl with "caption" and "url"')
    parser.add_argument("output", type=Path, help="JSON lines with caption, edit, output, url; new or existing")
    parser.add_argument(
        "--triples", type=Path, help='examples as JSON lines with "input", "edit", "output" (default: built in)'
    )
    parser.add_argument(
        "--fine-tuning", type=Path, help="only write --triples as a fine-tuning file in the paper's format"
    )
    add_field(parser, CaptionJob, "seed")
    add_engine(parser, "invent")
    add_thinker(parser)
    add_device(parser)


def run_caption_edits(options) -> int:
    """Have a thinker invent edits of captions."""
    from ..pairs.from_captions.caption_edits import built_in_edits, read_caption_edits, write_fine_tuning_file
    from ..pairs.from_captions.caption_job import CaptionJob

    examples = tuple(read_caption_edits(options.triples)) if options.triples else ()
    if options.fine_tuning:
        count = write_fine_tuning_file(examples or built_in_edits(), options.fine_tuning)
        print(f"{count} records → {options.fine_tuning}")
        return 0
    thinker = thinker_from(options)
    if thinker is None:
        raise RethinkError("caption-edits needs --thinker: a model folder, or the URL of a server with --model.")
    check_target(options.output, "output")
    job = CaptionJob(options.captions, options.output, thinker, examples, options.seed)
    done = job.run(ProgressLine(), engine_from(options)).progress
    print_result(f"{format_count(done.made, 'edit')} made, {done.rejected} rejected → {options.output}")
    if done.rejected:
        print(f"Why: {options.output}.rejected")
    return 0


# p2p


def _add_p2p(commands) -> None:
    from ..pairs.from_captions.job import PromptToPromptJob
    from ..pairs.from_captions.prompt_to_prompt import P2PConfig
    from ..pairs.from_captions.selection import Selection

    parser = add_command(
        commands, "p2p", "generate pairs from two captions each, keeping the best of many candidates", run_p2p
    )
    parser.add_argument("triples", type=Path, help='JSON lines with "input" (or "caption"), "edit", "output"')
    parser.add_argument("store", type=Path, help="folder of the pairs, new or existing")
    parser.add_argument("--sd", type=Path, help="a diffusers folder of Stable Diffusion 1, 2 or XL")
    add_lora_option(parser, "--sd model")
    parser.add_argument("--clip", help="built-in, or a transformers CLIPModel folder")
    for name in ("method", "steps", "sampler", "threshold", "guidance"):
        add_field(parser, P2PConfig, name)
    parser.add_argument(
        "--weights",
        nargs="+",
        default=[],
        metavar="WORD:FACTOR",
        help="words of the edited caption to weight more or less, with replace and refine, e.g. snowy:1.5 street:0.8",
    )
    for name in ("candidates", "batch", "image", "caption", "direction", "best", "audited"):
        add_field(parser, Selection, name)
    parser.add_argument(
        "--looks",
        nargs="*",
        metavar="STEPS:IMAGE:CAPTION:DIRECTION",
        help="sketch the candidates in STEPS steps first and drop those with a score that misses its threshold by more "
        "than given here, e.g. 10:0.15:0.04:0.15; without values, all are drawn to the end",
    )
    add_field(parser, PromptToPromptJob, "seed")
    add_engine(parser, "draw")
    add_device(parser)


def run_p2p(options) -> int:
    """Generate pairs of images from pairs of captions."""
    from ..pairs.from_captions.caption_edits import read_caption_edits
    from ..pairs.from_captions.job import PromptToPromptJob
    from ..pairs.from_captions.prompt_to_prompt import P2PConfig, read_weights
    from ..pairs.from_captions.selection import Selection

    clip = clip_from(options)
    if not options.sd or clip is None:
        raise RethinkError("p2p needs --sd and --clip: a Stable Diffusion folder and a CLIP folder.")
    config = P2PConfig(
        options.method,
        options.steps,
        options.sampler,
        tuple(options.threshold),
        tuple(options.guidance),
        read_weights(",".join(options.weights)),
    )
    names = ("candidates", "batch", "image", "caption", "direction", "best", "audited")
    chosen = {name: getattr(options, name) for name in names}
    looks = Selection.looks if options.looks is None else _looks(options.looks)
    job = PromptToPromptJob(
        tuple(read_caption_edits(options.triples)),
        options.store.absolute(),
        text_to_image_from(options),
        clip,
        config,
        Selection(**chosen, looks=looks),
        options.seed,
    )
    report = job.run(ProgressLine(), engine_from(options))
    done = report.stats
    print_result(
        f"{format_count(done.kept, 'pair')} of {format_count(done.drawn, 'candidate')}, {format_count(done.skipped, 'caption')} skipped, "
        f"{format_duration(done.seconds)} → {options.store}",
        f"dropped early: {done.dropped}; of these, drawn to the end as a check: {done.audited}, of which good: {done.false_rejects}; "
        f"estimated loss of good ones: {done.estimated_loss:.1%}",
        *report.stray_seeds,
    )
    return 0


def _looks(texts: list[str]) -> tuple[EarlyStop, ...]:
    from ..pairs.from_captions.selection import EarlyStop

    try:
        parts = [text.split(":") for text in texts]
        return tuple(EarlyStop(int(steps), *map(float, slacks)) for steps, *slacks in parts)
    except RethinkError:
        raise
    except (ValueError, TypeError) as error:
        text = " ".join(texts)
        raise RethinkError(
            f"--looks: expected STEPS:IMAGE:CAPTION:DIRECTION, for example 10:0.15:0.04:0.15, got {text}."
        ) from error


# filter


def _add_filter(commands) -> None:
    from ..pairs.review.filters import Thresholds

    parser = add_command(commands, "filter", "measure pairs, and accept or reject them with a reason", run_filter)
    parser.add_argument("store", type=Path, help="folder of the pairs")
    parser.add_argument("--clip", help="for the CLIP similarities: built-in, or a transformers CLIPModel folder")
    add_thinker(parser, "gives every pair a score from 0 to 10: ")
    add_device(parser)
    add_engine(parser, "measure")
    for each in fields(Thresholds):
        add_field(parser, Thresholds, each.name)


def run_filter(options) -> int:
    """Measure pairs, and accept or reject them."""
    from ..pairs.review.filters import Thresholds
    from ..pairs.review.job import FilterJob
    from ..pairs.store import PairStore

    thresholds = Thresholds(**{each.name: getattr(options, each.name) for each in fields(Thresholds)})
    job = FilterJob(
        PairStore.open_existing(options.store.absolute()), thresholds, clip_from(options), thinker_from(options)
    )
    report = job.run(ProgressLine(), engine_from(options))
    print_result(
        f"{format_count(len(report.accepted.subset_ids), 'pair')} accepted, {len(report.rejected.subset_ids)} rejected"
    )
    print_counts("rejected because", report.reasons)
    return 0
