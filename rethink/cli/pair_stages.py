"""What the commands of the pairs do, here or over a cluster. Each takes its parsed options and returns the exit code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace

from ..atomic import check_target
from ..errors import RethinkError
from ..pairs.text_files import read_json
from .progress import Line, clock, eta, pairs_line, print_counts, progress_with_eta, say

STAGES = {"damage", "edit", "describe", "invent", "draw", "measure"}
SERVER = ("http://", "https://")


@contextmanager
def _engine(options) -> Iterator[Callable]:
    """spread(stage, open, lost) → what carries the work of a stage to the cluster; None where there is none to use."""
    from ..pairs import ray_cluster

    if options.workers < 1:
        raise RethinkError(f"--workers must be at least 1, not {options.workers}.")
    if options.engine == "local":
        yield lambda stage, open, lost: None
        return
    shares = _shares(options.share)
    with ray_cluster.cluster(options.address, options.workers):
        yield lambda stage, open, lost: ray_cluster.ray_executor(open, lost, shares.get(stage, ray_cluster.Share()))


def _shares(texts: list[str]) -> dict:
    from ..pairs.ray_cluster import Share

    kinds = (float, float, int)
    if unknown := sorted({text.partition("=")[0] for text in texts} - STAGES):
        raise RethinkError(f"--share: there is no stage {unknown[0]!r}; choose among {', '.join(sorted(STAGES))}.")
    try:
        return {
            stage: Share(*(kind(part) for kind, part in zip(kinds, parts.split(":"), strict=False)))
            for stage, parts in (text.split("=") for text in texts)
        }
    except RethinkError:
        raise
    except ValueError as error:
        raise RethinkError(f"--share: expected STAGE=CPUS[:GPUS[:JOBS]], got {' '.join(texts)}.") from error


def run_synthesize(options) -> int:
    from ..pairs.formats import describe_store
    from ..pairs.inverse.drafts import failed_drafts
    from ..pairs.inverse.instructions import Description, Writer
    from ..pairs.inverse.locate import LocatedSources
    from ..pairs.inverse.processes import process_executor
    from ..pairs.inverse.synthesis import synthesize
    from ..pairs.store import PairStore

    if bool(options.editor) != bool(options.inverse):
        raise RethinkError("--editor and --inverse go together.")
    if options.find and not options.thinker:
        raise RethinkError("--find needs --thinker, who is to find it.")
    templates = _templates(options.templates)
    recipe, sources = _recipe(options, templates), _sources(options)
    if coverage := sources.coverage():
        print(coverage, flush=True)
    open_chat = _opening(options)
    chat, each = cache(open_chat), _each(options)  # which finds and describes
    folder, said = options.store.absolute(), Description(options.place, options.hidden)
    if options.editor:
        open_maker = partial(_open_editing, folder, recipe, options.editor, options.inverse, said, options.device)
    else:
        open_maker = partial(_open_damaging, folder, recipe)
    with _engine(options) as over, PairStore(folder).writing() as store:
        make = open_maker(store, here=options.engine == "local")
        if options.find:
            sources = LocatedSources(sources, chat(), options.find, store.spots, recipe.longest_side, each)
        lost = partial(failed_drafts, make.key)
        spread = over("edit" if options.editor else "damage", partial(_by_job, open_maker), lost)
        if options.engine == "local" and options.workers > 1 and not options.editor:
            spread = process_executor(options.workers, store, recipe)
        describe = None
        if options.thinker:
            open_describer = partial(_open_describing, folder, open_chat, options.paraphrase, templates, said)
            describe = over("describe", open_describer, _undescribed)
        writer = Writer(None if describe else chat(), options.paraphrase and not describe, templates, said)
        done = synthesize(
            store,
            sources,
            make,
            recipe.pairs,
            writer,
            spread=spread,
            describe=describe,
            each=each,
            on_progress=Line(pairs_line),
        )
        describe_store(store)
    say(f"{done.made} pairs made, {done.skipped} skipped, {clock(done.seconds)} → {options.store}")
    if done.skipped:
        print(f"Why: {store.skipped.path}")
    return 0


def _recipe(options, templates: dict):
    from ..pairs.inverse.drafts import SynthesisConfig

    return SynthesisConfig(
        tuple(options.operations),
        _ranges(options.set),
        options.pairs,
        options.seed,
        options.longest_side,
        tuple(options.area),
        _wording(options, templates),
    )


def _sources(options):
    from ..pairs.inverse.sources import Folder, read_spots

    spots = read_spots(options.boxes) if options.boxes else None
    return Folder(options.images.absolute(), options.masks and options.masks.absolute(), spots)


def _wording(options, templates: dict) -> str:
    """What the instructions depend on beside the recipe. Not who the thinker is: it may have moved to another server."""
    said = (bool(options.thinker), options.paraphrase, options.find, options.place, options.hidden, templates)
    return str(said) if any(said) else ""


def _open_damaging(folder: Path, recipe, store=None, here: bool = True):
    from ..pairs.inverse.drafts import operation_maker
    from ..pairs.store import PairStore

    return operation_maker(store or PairStore(folder), recipe)


def _open_editing(folder: Path, recipe, editor: str, inverse: str, said, device: str, store=None, here: bool = True):
    """here: False where only the pairs' ids are asked for, and others do the work."""
    from ..editors.loading import load_editor
    from ..editors.protocol import Settings
    from ..pairs.inverse.drafts import editor_maker
    from ..pairs.store import PairStore

    path = _model(editor, "EDITOR_FOLDER")
    opened = (
        load_editor(path, device=device) if here else SimpleNamespace(name=path.name if path.is_dir() else path.stem)
    )
    return editor_maker(store or PairStore(folder), recipe, opened, inverse, Settings(), said)


def _by_job(open_maker: Callable) -> Callable:
    make = open_maker()
    return lambda job: list(make(*job))


def _open_describing(folder: Path, open_chat: Callable, paraphrase: bool, templates: dict, said) -> Callable:
    from ..pairs.inverse.instructions import Writer
    from ..pairs.inverse.synthesis import finished
    from ..pairs.store import PairStore

    store, writer = PairStore(folder), Writer(open_chat(), paraphrase, templates, said)
    return lambda drafts: [finished(store, draft, writer) for draft in drafts]


def _undescribed(drafts: list, why: str) -> list:
    return [replace(draft, skipped=draft.skipped or why) for draft in drafts]


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


def _opening(options) -> Callable:
    """What opens the thinker's `chat`, here or on a machine of a cluster."""
    named = {"--thinker"} | ({"--key-variable"} if options.key_variable else set())
    by_owner = options.config is None or named <= options.typed
    return partial(_chat, options.thinker, options.model, options.key_variable, options.device, by_owner)


def _chat(thinker: str | None, model: str, key_variable: str, device: str, by_owner: bool):
    """The thinker's `chat`, or None where no thinker was asked for. by_owner: who runs the command has typed the server's
    address, and the name of its key."""
    if not thinker:
        return None
    if thinker.startswith(SERVER):
        from ..thinkers.openai_chat import OpenAIChat, open_typed_chat

        return (open_typed_chat if by_owner else OpenAIChat)(thinker, model, key_variable).chat
    from ..thinkers.loading import load_thinker

    return load_thinker(_model(thinker, "THINKER_FOLDER"), device=device).chat


def _each(options) -> Callable:
    """`map`, or what asks a server several times at once; a model of this machine answers one by one."""
    from ..pairs.inverse.processes import thread_map

    thinker = options.thinker or ""
    if thinker and not 1 <= options.concurrency <= 64:
        raise RethinkError(f"--concurrency must be 1 to 64, not {options.concurrency}.")
    return thread_map(options.concurrency if thinker.startswith(SERVER) else 1)


def _model(given: str, built_in: str) -> Path:
    from .. import builtin

    return getattr(builtin, built_in) if given == "built-in" else Path(given)


def run_caption_edits(options) -> int:
    from ..pairs.from_captions.caption_edits import (
        built_in_triples,
        captions_to_edits,
        read_captions,
        read_triples,
        write_fine_tuning_file,
    )

    triples = read_triples(options.triples) if options.triples else built_in_triples()
    if options.fine_tuning:
        print(f"{write_fine_tuning_file(triples, options.fine_tuning)} records → {options.fine_tuning}")
        return 0
    if not options.thinker:
        raise RethinkError("caption-edits needs --thinker: a model folder, or the URL of a server with --model.")
    check_target(options.output, "output")

    total = sum(1 for _ in read_captions(options.captions))

    def line(progress) -> str:
        rate = progress.made / progress.seconds if progress.seconds else 0
        left = eta(progress.made + progress.rejected, total - progress.seen, progress.seconds)
        return (
            f"{progress.seen}/{total} captions · {progress.made} edits · {progress.rejected} rejected · "
            f"{rate:.2f} edits/s · {left} left"
        )

    open_chat = _opening(options)
    with _engine(options) as over:
        spread = over("invent", partial(_open_inventing, open_chat, triples, options.seed), _not_invented)
        chat = None if spread else open_chat()
        done = captions_to_edits(
            chat,
            read_captions(options.captions),
            options.output,
            triples,
            options.seed,
            Line(line),
            spread=spread,
            each=_each(options),
        )
    say(f"{done.made} edits made, {done.rejected} rejected → {options.output}")
    if done.rejected:
        print(f"Why: {options.output}.rejected")
    return 0


def _open_inventing(open_chat: Callable, triples: list, seed: int) -> Callable:
    from ..pairs.from_captions.caption_edits import edit_record

    return partial(edit_record, open_chat(), triples, seed)


def _not_invented(job: tuple[str, str], why: str) -> dict:
    return {"caption": job[0], "why": why, "url": job[1]}


def run_p2p(options) -> int:
    from ..pairs.formats import describe_store
    from ..pairs.from_captions.caption_edits import read_triples
    from ..pairs.from_captions.prompt_to_prompt import P2PConfig
    from ..pairs.from_captions.selection import CandidateSampler, Selection, draw_pairs, lost_drawing
    from ..pairs.store import PairStore

    if not (options.sd and options.clip):
        raise RethinkError("p2p needs --sd and --clip: a folder of Stable Diffusion, and one of CLIP.")
    recipe = P2PConfig(
        options.method, options.steps, options.sampler, tuple(options.threshold), tuple(options.guidance)
    )
    looks = Selection().looks if options.looks is None else _looks(options.looks)
    selection = Selection(
        options.candidates,
        options.batch,
        options.image,
        options.caption,
        options.direction,
        options.best,
        looks,
        options.audited,
    )
    triples = read_triples(options.triples)
    folder = options.store.absolute()
    open_drawer = partial(
        _open_drawer, folder, options.sd, options.clip, options.device, recipe, selection, options.seed
    )

    def line(tally) -> str:
        rate = tally.kept / tally.seconds if tally.seconds else 0
        seen = tally.captions + before
        left = eta(tally.captions, len(triples) - seen, tally.seconds)
        return f"{seen}/{len(triples)} captions · {tally.kept} pairs · {rate:.2f} pairs/s · {left} left"

    with _engine(options) as over, PairStore(folder).writing() as store:
        drawer = CandidateSampler(store, None, None, recipe, selection, options.seed)
        known = {record["id"] for record in store.drawn}
        before = sum(drawer.id(triple) in known for triple in triples)
        spread = over("draw", open_drawer, partial(lost_drawing, drawer))
        drawer = drawer if spread else open_drawer(store)
        done = draw_pairs(store, triples, drawer, spread=spread, on_progress=Line(line))
        describe_store(store)
    say(
        f"{done.kept} pairs of {done.drawn} candidates, {done.skipped} captions skipped, {clock(done.seconds)} → {options.store}"
    )
    say(
        f"dropped early: {done.dropped}; drawn to the end to see: {done.audited}, of which good: {done.erred}; good ones lost: {done.lost:.1%}"
    )
    return 0


def _open_drawer(folder: Path, sd: Path, clip: str, device: str, recipe, selection, seed: int, store=None):
    from ..pairs.from_captions.selection import CandidateSampler, load_text_to_image
    from ..pairs.store import PairStore

    pipeline = load_text_to_image(sd, device)
    return CandidateSampler(store or PairStore(folder), pipeline, _open_clip(clip, device), recipe, selection, seed)


def _looks(texts: list[str]) -> tuple:
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


def run_filter(options) -> int:
    from ..pairs.review.filters import Thresholds, filter_pairs, score
    from ..pairs.review.grading import grade_pairs
    from ..pairs.store import PairStore

    thresholds = Thresholds(**{field.name: getattr(options, field.name) for field in fields(Thresholds)})
    store = PairStore.existing(options.store.absolute())
    chat = _opening(options)()
    with _engine(options) as over, store.writing():
        spread = over("measure", partial(_open_measuring, store.folder, options.clip, options.device), _not_measured)
        clip = _open_clip(options.clip, "cpu" if spread else options.device)
        score(store, clip, progress_with_eta("pairs measured"), spread=spread)
        if chat:
            name = options.model or Path(options.thinker).name
            grade_pairs(store, chat, name, progress_with_eta("pairs marked"), each=_each(options))
        accepted, rejected = filter_pairs(store, thresholds)
    say(f"{accepted} pairs accepted, {rejected} rejected")
    print_counts("rejected because", (why for verdict in store.current_verdicts().values() for why in verdict["why"]))
    return 0


def _open_clip(folder: str | None, device: str):
    from ..evaluation.clip_similarity import Clip

    return Clip(_model(folder, "CLIP_FOLDER"), device) if folder else None


def _open_measuring(folder: Path, clip: str | None, device: str) -> Callable:
    from ..pairs.review.filters import score_batch
    from ..pairs.store import PairStore

    store, opened = PairStore(folder), _open_clip(clip, device)
    return lambda pairs: score_batch(store, pairs, opened)


def _not_measured(pairs: list, why: str) -> list[dict]:
    return [{"id": pair.id, "broken": why} for pair in pairs]


def run_export(options) -> int:
    from ..pairs.formats import FORMATS, export
    from ..pairs.store import PairStore

    count = export(
        PairStore.existing(options.store), options.format, options.folder, progress_with_eta("pairs written")
    )
    say(f"{count} pairs → {options.folder}\nWhich is the target: {FORMATS[options.format].target}")
    return 0


def run_import(options) -> int:
    from ..pairs.formats import describe_store, import_dataset
    from ..pairs.store import PairStore

    with PairStore(options.store).writing() as store:
        why: list[str] = []
        imported, skipped = import_dataset(
            store, options.format, options.folder, lambda name, reason: why.append(reason)
        )
        describe_store(store)
    say(f"{imported} pairs imported, {skipped} skipped → {options.store}")
    print_counts("skipped because", why)
    return 0
