"""The commands of the pairs: `synthesize`, `caption-edits`, `p2p`, `filter`, `export`, `import`, `inspect`. Each turns its
arguments into a job of the library, and runs it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..atomic import check_target
from ..errors import RethinkError
from ..pairs.text_files import read_json
from ..progress import JobProgress, format_duration, progress_with_eta
from . import progress
from .arguments import add_field, add_switch
from .progress import ProgressLine, print_counts, print_result

if TYPE_CHECKING:
    from ..editors.protocol import Editor
    from ..evaluation.clip_similarity import Clip
    from ..pairs.engine import Engine
    from ..pairs.from_captions.selection import EarlyStop
    from ..pairs.inverse.instructions import Chat
    from ..pairs.models import ModelSource
    from ..pairs.ray_cluster import WorkerResources

EXAMPLES = """examples:
  python -m rethink synthesize photos my-pairs --pairs 4
  python -m rethink synthesize photos my-pairs --operations cover --set cover.fill=black --boxes faces.json
  python -m rethink synthesize photos my-pairs --editor models/diffusers/qwen-edit --inverse "remove the hat"
  python -m rethink caption-edits captions.txt edits.jsonl --thinker http://localhost:8000/v1 --model qwen
  python -m rethink p2p edits.jsonl my-pairs --sd models/diffusers/sd15 --clip models/clip/clip-vit-large-patch14
  python -m rethink filter my-pairs --clip models/clip/clip-vit-large-patch14
  python -m rethink export my-pairs ai-toolkit my-dataset

Every command goes on where it stopped. --engine ray spreads the work over a Ray cluster whose machines share the folders:
  python -m rethink synthesize /nfs/photos /nfs/pairs --engine ray --address auto --share damage=1 describe=2:0.5
--config FILE holds the same options as JSON: {"pairs": 4, "set": ["…"]}."""
BUILT_IN = "built-in"
SERVER = ("http://", "https://")
PAIR_STORE = "pair-store"  # among the formats: Rethink's own


def add_commands(commands) -> None:
    """Adds the commands to the subparsers of `python -m rethink`."""
    _add_synthesize(commands)
    _add_caption_edits(commands)
    _add_p2p(commands)
    _add_filter(commands)
    _add_export(commands)
    _add_inspect(commands)


def _command(commands, name: str, about: str, run: Callable) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name, help=about, description=about, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, help="JSON file of options; what is given here goes before it")
    parser.set_defaults(run=run)
    return parser


# Config files


def with_config(arguments: Sequence[str]) -> list[str]:
    """The arguments with the options of their config file before them: so they are read and refused like any others, and
    what is given itself counts. Raises RethinkError for a file that holds no options."""
    known, _ = _CONFIG.parse_known_args(arguments)
    if known.config is None:
        return list(arguments)
    record = read_json(known.config, "--config")
    if not isinstance(record, dict):
        raise RethinkError(f'--config: {known.config} holds no options; expected {{"pairs": 4, …}}.')
    command, *rest = arguments
    flags = [flag for name, value in record.items() for flag in _flags(name, value)]
    return [command, *flags, "--config", known.config, *rest]  # which also ends a list of values


def find_typed(arguments: Sequence[str]) -> frozenset[str]:
    """The options that stand in the arguments themselves, not in a config file, which may be somebody else's."""
    return frozenset(argument.partition("=")[0] for argument in arguments if argument.startswith("--"))


_CONFIG = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
_CONFIG.add_argument("--config")


def _flags(name: str, value) -> list[str]:
    name = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    if isinstance(value, list):
        return [f"--{name}", *map(str, value)]
    return [] if value is None else [f"--{name}={value}"]


# synthesize


def _add_synthesize(commands) -> None:
    from ..pairs.inverse.drafts import MASK_FREE, SynthesisConfig
    from ..pairs.inverse.job import SynthesisJob

    about = "pairs by damaging real images: the damage is what is learned to undo"
    parser = _command(commands, "synthesize", about, run_synthesize)
    parser.add_argument("images", type=Path, help="folder of images, with its subfolders")
    parser.add_argument("store", type=Path, help="folder of the pairs, new or begun")
    parser.add_argument(
        "--operations", nargs="+", default=list(MASK_FREE), metavar="NAME", help="default: all that need no mask"
    )
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="OP.NAME=VALUES", help="cover.fill=black,white blur.strength=0.1,0.2"
    )
    for name in ("pairs", "seed", "longest_side", "area"):
        add_field(parser, SynthesisConfig, name)
    parser.add_argument(
        "--masks",
        type=Path,
        help="folder with the same file names, any image ending; white, or opaque in a cut-out, where the subject is",
    )
    parser.add_argument(
        "--boxes",
        type=Path,
        help='JSON {"name": [{"box": [l, t, r, b], "place": …, "hidden": …}]}, shares of 0…1; names as under images, in any spelling',
    )
    parser.add_argument("--templates", type=Path, help='JSON {"operation": ["Remove the {thing}.", …]}')
    _add_engine(parser, "damage (or edit) and describe")
    parser.add_argument(
        "--editor", help="does --inverse in place of an operation: built-in, a diffusers folder, a .safetensors file"
    )
    for name in ("inverse", "find", "place"):
        add_field(parser, SynthesisJob, name)
    add_field(parser, SynthesisJob, "description", "--hidden")
    add_field(parser, SynthesisJob, "paraphrase")
    parser.epilog = f"{_operations()}\n\n{EXAMPLES}"
    _add_thinker(parser)


def _operations() -> str:
    """What there is to choose among with --operations and --set."""
    from ..pairs.inverse.operations import OPERATIONS, Range

    def values(span) -> str:
        return f"{span.low},{span.high}" if isinstance(span, Range) else ",".join(span.choices)

    needs = {"selection": "  (needs masks, boxes or --find)", "subject": "  (needs masks)"}
    lines = [
        f"  {id:16}{'  '.join(f'{name}={values(span)}' for name, span in op.ranges.items())}{needs.get(op.where, '')}"
        for id, op in OPERATIONS.items()
    ]
    return "\n".join(["operations, and from what their parameters are drawn:", *lines])


def run_synthesize(options) -> int:
    """Make pairs by inverse edits."""
    from ..pairs.inverse.drafts import SynthesisConfig
    from ..pairs.inverse.job import SynthesisJob
    from ..pairs.inverse.sources import Folder, read_spots

    spots = read_spots(options.boxes) if options.boxes else None
    config = SynthesisConfig(
        tuple(options.operations),
        _ranges(options.set),
        options.pairs,
        options.seed,
        options.longest_side,
        tuple(options.area),
    )
    job = SynthesisJob(
        Folder(options.images.absolute(), options.masks and options.masks.absolute(), spots),
        options.store.absolute(),
        config,
        _editor(options),
        _thinker(options),
        options.inverse,
        options.find,
        options.place,
        options.description,
        options.paraphrase,
        _templates(options.templates),
    )
    engine = _engine(options)
    if job.coverage:
        print(job.coverage, flush=True)
    report = job.run(ProgressLine(_line), engine)
    done = report.progress
    print_result(
        f"{done.made} pairs made, {done.skipped} skipped, {format_duration(done.seconds)} → {options.store}",
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
    record = read_json(path, "--templates")
    try:
        return {str(id): [str(template) for template in templates] for id, templates in record.items()}
    except (AttributeError, TypeError) as error:
        raise RethinkError(f"--templates: cannot read {path}: {error}") from error


# caption-edits


def _add_caption_edits(commands) -> None:
    from ..pairs.from_captions.caption_job import CaptionJob

    parser = _command(commands, "caption-edits", "captions to instructions and edited captions", run_caption_edits)
    parser.add_argument("captions", type=Path, help='a caption a line, or .jsonl with "caption" and "url"')
    parser.add_argument("output", type=Path, help="JSON lines caption, edit, output, url; new or begun")
    parser.add_argument(
        "--triples", type=Path, help='examples as JSON lines "input", "edit", "output" (default: built in)'
    )
    parser.add_argument(
        "--fine-tuning", type=Path, help="only write --triples as a fine-tuning file in the paper's format"
    )
    add_field(parser, CaptionJob, "seed")
    _add_engine(parser, "invent")
    _add_thinker(parser)


def run_caption_edits(options) -> int:
    """Have a thinker invent edits of captions."""
    from ..pairs.from_captions.caption_edits import built_in_triples, read_triples, write_fine_tuning_file
    from ..pairs.from_captions.caption_job import CaptionJob

    examples = tuple(read_triples(options.triples)) if options.triples else ()
    if options.fine_tuning:
        count = write_fine_tuning_file(examples or built_in_triples(), options.fine_tuning)
        print(f"{count} records → {options.fine_tuning}")
        return 0
    thinker = _thinker(options)
    if thinker is None:
        raise RethinkError("caption-edits needs --thinker: a model folder, or the URL of a server with --model.")
    check_target(options.output, "output")
    job = CaptionJob(options.captions, options.output, thinker, examples, options.seed)
    done = job.run(ProgressLine(_line), _engine(options)).progress
    print_result(f"{done.made} edits made, {done.rejected} rejected → {options.output}")
    if done.rejected:
        print(f"Why: {options.output}.rejected")
    return 0


# p2p


def _add_p2p(commands) -> None:
    from ..pairs.from_captions.job import PromptToPromptJob
    from ..pairs.from_captions.prompt_to_prompt import P2PConfig
    from ..pairs.from_captions.selection import Selection

    parser = _command(commands, "p2p", "pairs drawn from two captions each, the best of many candidates", run_p2p)
    parser.add_argument("triples", type=Path, help='JSON lines "input" (or "caption"), "edit", "output"')
    parser.add_argument("store", type=Path, help="folder of the pairs, new or begun")
    parser.add_argument("--sd", type=Path, help="a diffusers folder of Stable Diffusion 1, 2 or XL")
    parser.add_argument("--clip", help="built-in, or a transformers CLIPModel folder")
    for name in ("method", "steps", "sampler", "threshold", "guidance"):
        add_field(parser, P2PConfig, name)
    parser.add_argument(
        "--weights",
        nargs="+",
        default=[],
        metavar="WORD:FACTOR",
        help="words of the edited caption that count more or less with replace and refine, e.g. snowy:1.5 street:0.8",
    )
    for name in ("candidates", "batch", "image", "caption", "direction", "best", "audited"):
        add_field(parser, Selection, name)
    parser.add_argument(
        "--looks",
        nargs="*",
        metavar="STEPS:IMAGE:CAPTION:DIRECTION",
        help="sketch the candidates in so many steps first, and drop those of which a score misses its threshold by more "
        "than this, e.g. 10:0.15:0.04:0.15; none: draw all to the end",
    )
    add_field(parser, PromptToPromptJob, "seed")
    _add_engine(parser, "draw")
    parser.add_argument("--device", default="cpu", help="where the models compute: cpu, cuda, mps, …")


def run_p2p(options) -> int:
    """Draw pairs of images from pairs of captions."""
    from ..pairs.from_captions.caption_edits import read_triples
    from ..pairs.from_captions.job import PromptToPromptJob
    from ..pairs.from_captions.prompt_to_prompt import P2PConfig, read_weights
    from ..pairs.from_captions.selection import Selection, open_drawing_model
    from ..pairs.models import ModelSource

    if not (options.sd and options.clip):
        raise RethinkError("p2p needs --sd and --clip: a folder of Stable Diffusion, and one of CLIP.")
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
        tuple(read_triples(options.triples)),
        options.store.absolute(),
        ModelSource(_name(options.sd), partial(open_drawing_model, options.sd, options.device)),
        _clip(options),
        config,
        Selection(**chosen, looks=looks),
        options.seed,
    )
    report = job.run(ProgressLine(_line), _engine(options))
    done = report.stats
    print_result(
        f"{done.kept} pairs of {done.drawn} candidates, {done.skipped} captions skipped, "
        f"{format_duration(done.seconds)} → {options.store}",
        f"dropped early: {done.dropped}; drawn to the end to see: {done.audited}, of which good: {done.erred}; "
        f"good ones lost: {done.lost:.1%}",
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
        given = " ".join(texts)
        raise RethinkError(
            f"--looks: expected STEPS:IMAGE:CAPTION:DIRECTION, for example 10:0.15:0.04:0.15, got {given}."
        ) from error


# filter


def _add_filter(commands) -> None:
    from ..pairs.review.filters import Thresholds

    parser = _command(commands, "filter", "measure pairs, and accept or reject them; say why", run_filter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--clip", help="for the CLIP similarities: built-in, or a transformers CLIPModel folder")
    _add_thinker(parser, "asked to mark every pair with 0 to 10: ")
    _add_engine(parser, "measure")
    for each in fields(Thresholds):
        add_field(parser, Thresholds, each.name)


def run_filter(options) -> int:
    """Measure pairs, and accept or reject them."""
    from ..pairs.review.filters import Thresholds
    from ..pairs.review.job import FilterJob
    from ..pairs.store import PairStore

    thresholds = Thresholds(**{each.name: getattr(options, each.name) for each in fields(Thresholds)})
    job = FilterJob(PairStore.existing(options.store.absolute()), thresholds, _clip(options), _thinker(options))
    report = job.run(ProgressLine(_line), _engine(options))
    print_result(f"{len(report.accepted.only)} pairs accepted, {len(report.rejected.only)} rejected")
    print_counts("rejected because", report.reasons)
    return 0


# export, import, inspect


def _add_export(commands) -> None:
    from ..pairs.formats import FORMATS

    formats = (PAIR_STORE, *FORMATS)
    parser = _command(commands, "export", "write the accepted pairs in the layout of a trainer", run_export)
    parser.add_argument("store", type=Path)
    parser.add_argument("format", choices=formats, help=f"{PAIR_STORE}: Rethink's own; adds what is new there")
    parser.add_argument("folder", type=Path, help=f"a new folder; with {PAIR_STORE} a new one or one begun")
    add_switch(
        parser, "--replace", "write a dataset that is there anew, where nothing in it was changed or added by hand"
    )
    parser = _command(commands, "import", "read a dataset in another layout into a store", run_import)
    parser.add_argument("folder", type=Path, help="the dataset: a folder, or the zip of fal-zip")
    parser.add_argument("format", choices=FORMATS)
    parser.add_argument("store", type=Path, help="folder of the pairs, new or begun")


def run_export(options) -> int:
    """Write the accepted pairs in another layout, or into another store."""
    from ..pairs.formats import FORMATS, add_to_store, export
    from ..pairs.store import PairStore

    pairs = PairStore.existing(options.store)
    if options.format == PAIR_STORE:
        print_result(f"{add_to_store(pairs, options.folder)} new pairs → {options.folder}")
        return 0
    written = progress_with_eta("pairs written", ProgressLine(_line))
    count = export(pairs, options.format, options.folder, written, options.replace)
    print_result(f"{count} pairs → {options.folder}", f"Which is the target: {FORMATS[options.format].target}")
    return 0


def run_import(options) -> int:
    """Read a dataset in another layout into a store."""
    from ..pairs.formats import describe_store, import_dataset
    from ..pairs.review.filters import count_reasons
    from ..pairs.store import PairStore

    with PairStore(options.store).writing() as store:
        why: list[str] = []
        imported, skipped = import_dataset(
            store, options.format, options.folder, lambda name, reason: why.append(reason)
        )
        describe_store(store)
    print_result(f"{imported} pairs imported, {skipped} skipped → {options.store}")
    print_counts("skipped because", count_reasons(why))
    return 0


def _add_inspect(commands) -> None:
    parser = _command(commands, "inspect", "what is in a store: counts, reasons, scores", progress.run_inspect)
    parser.add_argument("store", type=Path)
    parser.add_argument("--histogram", metavar="SCORE", help="of a score, e.g. clip_sim_dir or changed")
    add_switch(parser, "--check", "open every image")


# What several commands share


def _line(progress: JobProgress) -> str:
    return progress.line


def _add_engine(parser: argparse.ArgumentParser, names: str) -> None:
    from ..pairs.engine import Engine

    for name in ("workers", "engine", "address"):
        add_field(parser, Engine, name)
    parser.add_argument(
        "--share",
        nargs="+",
        default=[],
        metavar="STAGE=CPUS[:GPUS[:JOBS]]",
        help=f"what a worker of a stage takes of its machine, and jobs it claims at once; the stages: {names}",
    )


def _engine(options) -> Engine:
    from ..pairs.engine import Engine

    return Engine(options.engine, options.workers, options.address, _shares(options.share))


def _shares(texts: list[str]) -> dict[str, WorkerResources]:
    from ..pairs.ray_cluster import WorkerResources

    kinds = (float, float, int)
    try:
        return {
            stage: WorkerResources(*(kind(part) for kind, part in zip(kinds, parts.split(":"), strict=False)))
            for stage, parts in (text.split("=") for text in texts)
        }
    except RethinkError:
        raise
    except ValueError as error:
        raise RethinkError(f"--share: expected STAGE=CPUS[:GPUS[:JOBS]], got {' '.join(texts)}.") from error


def _add_thinker(parser: argparse.ArgumentParser, role: str = "") -> None:
    kinds = "built-in, a transformers folder of a vision-language model, or the URL of a server (…/v1)"
    parser.add_argument("--thinker", help=f"{role}{kinds}")
    parser.add_argument("--model", default="", help="the model's name on the server")
    parser.add_argument(
        "--key-variable",
        default="",
        help="NAME of the environment variable that holds the server's key, which is sent to that server alone",
    )
    parser.add_argument("--concurrency", type=int, default=4, help="questions to the server at once")
    parser.add_argument("--device", default="cpu", help="where the models compute: cpu, cuda, mps, …")


def _thinker(options) -> ModelSource[Chat] | None:
    """The thinker that was asked for; it is opened later, here or on a machine of a cluster."""
    from ..pairs.models import ModelSource

    thinker = options.thinker or ""
    if not thinker:
        return None
    if not 1 <= options.concurrency <= 64:
        raise RethinkError(f"--concurrency must be 1 to 64, not {options.concurrency}.")
    named = {"--thinker"} | ({"--key-variable"} if options.key_variable else set())
    by_owner = options.config is None or named <= options.typed
    load = partial(_open_chat, thinker, options.model, options.key_variable, options.device, by_owner)
    if thinker.startswith(SERVER):
        return ModelSource(options.model, load, options.concurrency)
    return ModelSource(_name(thinker), load)


def _open_chat(thinker: str, model: str, key_variable: str, device: str, by_owner: bool) -> Chat:
    """by_owner: who runs the command has typed the server's address, and the name of its key."""
    if thinker.startswith(SERVER):
        from ..thinkers.openai_chat import OpenAIChat, open_typed_chat

        return (open_typed_chat if by_owner else OpenAIChat)(thinker, model, key_variable).chat
    from ..thinkers.loading import load_thinker

    return load_thinker(_path(thinker, "THINKER_FOLDER"), device=device).chat


def _editor(options) -> ModelSource[Editor] | None:
    from ..editors.loading import load_editor
    from ..pairs.models import ModelSource

    if bool(options.editor) != bool(options.inverse):
        raise RethinkError("--editor and --inverse go together.")
    if not options.editor:
        return None
    path = _path(options.editor, "EDITOR_FOLDER")
    return ModelSource(_name(options.editor), partial(load_editor, path, device=options.device))


def _clip(options) -> ModelSource[Clip] | None:
    from ..evaluation.clip_similarity import Clip
    from ..pairs.models import ModelSource

    if not options.clip:
        return None
    return ModelSource(_name(options.clip), partial(Clip, _path(options.clip, "CLIP_FOLDER"), options.device))


def _name(given: str | Path) -> str:
    """What a model is called that was given by its folder or file, or as built-in."""
    from ..model_files import model_name, snapshot_of
    from ..pairs.models import model_id

    return model_id(BUILT_IN if given == BUILT_IN else model_name(snapshot_of(Path(given))))


def _path(given: str, built_in: str) -> Path:
    from .. import builtin

    return getattr(builtin, built_in) if given == BUILT_IN else Path(given)
