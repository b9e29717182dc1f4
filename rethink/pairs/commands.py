"""The commands of the pairs: `synthesize`, `caption-edits`, `p2p`, `filter`, `export`, `import`, `inspect`."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from ..errors import RethinkError

EXAMPLES = """examples:
  python -m rethink synthesize photos my-pairs --pairs 4
  python -m rethink synthesize photos my-pairs --operations cover --set cover.fill=black --boxes faces.json
  python -m rethink synthesize photos my-pairs --editor models/diffusers/qwen-edit --inverse "remove the hat"
  python -m rethink caption-edits captions.txt edits.jsonl --thinker http://localhost:8000/v1 --model qwen
  python -m rethink p2p edits.jsonl my-pairs --sd models/diffusers/sd15 --clip models/clip/clip-vit-large-patch14
  python -m rethink filter my-pairs --clip models/clip/clip-vit-large-patch14
  python -m rethink export my-pairs ai-toolkit my-dataset

Every command goes on where it stopped. --config FILE holds the same options as JSON: {"pairs": 4, "set": ["…"]}."""


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
    parser.set_defaults(run=lambda options: run(_configured(parser, options)))
    return parser


def _configured(parser: argparse.ArgumentParser, options: argparse.Namespace) -> argparse.Namespace:
    """The options with those that were left at their default taken from the config file."""
    if options.config is None:
        return options
    try:
        record = json.loads(options.config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RethinkError(f"--config: cannot read {options.config}: {error}") from error
    for key, value in record.items() if isinstance(record, dict) else [(str(options.config), None)]:
        name = key.replace("-", "_")
        if not hasattr(options, name) or name in ("config", "run"):
            raise RethinkError(f"--config: there is no option {key!r}.")
        if getattr(options, name) == parser.get_default(name):
            setattr(options, name, Path(value) if isinstance(value, str) and name in PATHS else value)
    return options


PATHS = {"masks", "boxes", "templates", "triples", "fine_tuning", "clip", "sd"}


def _add_synthesize(commands) -> None:
    from .synthesis import FREE

    parser = _command(commands, "synthesize", "pairs by damaging real pictures: the damage is what is learnt to undo", _synthesize)
    parser.add_argument("images", type=Path, help="folder of pictures, with its subfolders")
    parser.add_argument("store", type=Path, help="folder of the pairs, new or begun")
    parser.add_argument("--operations", nargs="+", default=list(FREE), metavar="NAME", help="default: all that need no mask")
    parser.add_argument("--set", nargs="+", default=[], metavar="OP.NAME=VALUES", help="cover.fill=black,white blur.strength=0.1,0.2")
    parser.add_argument("--pairs", type=int, default=1, help="of every picture")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest-side", type=int, default=2048, help="larger pictures are scaled down; 0: never")
    parser.add_argument("--area", nargs=2, type=float, default=[0.03, 0.2], help="share of the picture that is worked on")
    parser.add_argument("--masks", type=Path, help="folder with the same file names, white where the subject is")
    parser.add_argument("--boxes", type=Path, help='JSON {"name": [{"box": [l, t, r, b], "place": …, "hidden": …}]}, shares of 0…1')
    parser.add_argument("--templates", type=Path, help='JSON {"operation": ["Remove the {thing}.", …]}')
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--editor", help="a diffusers folder or .safetensors file that does --inverse in place of an operation")
    parser.add_argument("--inverse", help='the easy instruction, e.g. "remove the hat"')
    parser.add_argument("--hidden", default="", help='what undoing it brings back, e.g. "A red woollen hat."')
    _add_thinker(parser)
    parser.add_argument("--paraphrase", action="store_true", help="the thinker rewords every instruction")


def _add_thinker(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--thinker", help="a transformers folder of a vision-language model, or the URL of a server (…/v1)")
    parser.add_argument("--model", default="", help="the model's name on the server")
    parser.add_argument("--key-variable", default="", help="NAME of the environment variable that holds the server's key")
    parser.add_argument("--device", default="cpu")


def _add_caption_edits(commands) -> None:
    parser = _command(commands, "caption-edits", "captions to instructions and edited captions", _caption_edits)
    parser.add_argument("captions", type=Path, help='a caption a line, or .jsonl with "caption" and "url"')
    parser.add_argument("output", type=Path, help="JSON lines caption, edit, output, url; new or begun")
    parser.add_argument("--triples", type=Path, help='examples as JSON lines "input", "edit", "output" (default: built in)')
    parser.add_argument("--fine-tuning", type=Path, help="only write --triples as a fine-tuning file in the paper's format")
    parser.add_argument("--seed", type=int, default=0)
    _add_thinker(parser)


def _add_p2p(commands) -> None:
    from .candidates import Selection
    from .prompt_to_prompt import METHODS, Recipe

    recipe, selection = Recipe(), Selection()
    parser = _command(commands, "p2p", "pairs drawn from two captions each, the best of many candidates", _p2p)
    parser.add_argument("triples", type=Path, help='JSON lines "input" (or "caption"), "edit", "output"')
    parser.add_argument("store", type=Path, help="folder of the pairs, new or begun")
    parser.add_argument("--sd", type=Path, help="a diffusers folder of Stable Diffusion 1, 2 or XL")
    parser.add_argument("--clip", type=Path, help="a transformers CLIPModel folder")
    parser.add_argument("--method", choices=METHODS, default=recipe.method)
    parser.add_argument("--steps", type=int, default=recipe.steps)
    parser.add_argument("--sampler", default=recipe.sampler)
    parser.add_argument("--threshold", nargs=2, type=float, default=list(recipe.threshold), help="share of the steps that share attention")
    parser.add_argument("--guidance", nargs=2, type=float, default=list(recipe.guidance))
    for name in ("candidates", "batch", "image", "caption", "direction", "best", "audited"):
        default = getattr(selection, name)
        parser.add_argument(f"--{name}", type=type(default), default=default, help=f"default {default}")
    parser.add_argument("--looks", nargs="*", metavar="SHARE:SLACK", help="when hopeless candidates are dropped, e.g. 0.3:0.15; none: never")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")


def _add_filter(commands) -> None:
    from .filters import Thresholds

    parser = _command(commands, "filter", "measure pairs, and accept or reject them; say why", _filter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--clip", type=Path, help="a transformers CLIPModel folder, for the CLIP similarities")
    parser.add_argument("--device", default="cpu")
    for field in fields(Thresholds):
        flag = "--" + field.name.replace("_", "-")
        if isinstance(field.default, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=field.default)
        else:
            parser.add_argument(flag, type=type(field.default), default=field.default, help=f"default {field.default}")


def _add_export(commands) -> None:
    from .formats import FORMATS

    parser = _command(commands, "export", "write the accepted pairs in the layout of a trainer", _export)
    parser.add_argument("store", type=Path)
    parser.add_argument("format", choices=FORMATS)
    parser.add_argument("folder", type=Path, help="a new folder")
    parser = _command(commands, "import", "read a dataset in another layout into a store", _import)
    parser.add_argument("folder", type=Path, help="the dataset: a folder, or the zip of fal-zip")
    parser.add_argument("format", choices=FORMATS)
    parser.add_argument("store", type=Path, help="folder of the pairs, new or begun")


def _add_inspect(commands) -> None:
    parser = _command(commands, "inspect", "what is in a store: counts, reasons, scores", _inspect)
    parser.add_argument("store", type=Path)
    parser.add_argument("--histogram", metavar="SCORE", help="of a score, e.g. clip_sim_dir or changed")
    parser.add_argument("--check", action="store_true", help="open every picture")


def _synthesize(options) -> int:
    from .descriptions import Description, Writer
    from .formats import describe_store
    from .sources import Folder, read_spots
    from .store import PairStore
    from .synthesis import Recipe, make_damaged, make_edited, synthesize
    from .workers import spread_over

    if bool(options.editor) != bool(options.inverse):
        raise RethinkError("--editor and --inverse go together.")
    if options.workers < 1:
        raise RethinkError(f"--workers must be at least 1, not {options.workers}.")
    recipe = Recipe(
        tuple(options.operations), _ranges(options.set), options.pairs, options.seed, options.longest_side, tuple(options.area)
    )  # fmt: skip
    sources = Folder(options.images, options.masks, read_spots(options.boxes) if options.boxes else None)
    writer = Writer(_chat(options), options.paraphrase, _templates(options.templates))
    with PairStore(options.store).writing() as store:
        if options.editor:
            from ..editors.loading import load_editor
            from ..editors.protocol import Settings

            editor = load_editor(options.editor, device=options.device)
            make = make_edited(store, recipe, editor, options.inverse, Settings(), Description(hidden=options.hidden))
        else:
            make = make_damaged(store, recipe)
        spread = spread_over(options.workers, store, recipe) if options.workers > 1 and not options.editor else None
        done = synthesize(store, sources, make, recipe.pairs, writer, spread=spread, on_progress=_Line(_pairs_line))
        describe_store(store)
    print(f"{done.made} pairs made, {done.skipped} skipped, {_clock(done.seconds)} → {options.store}")
    if done.skipped:
        print(f"Why: {store.skipped.path}")
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
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {str(id): [str(template) for template in templates] for id, templates in record.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise RethinkError(f"--templates: cannot read {path}: {error}") from error


def _chat(options):
    """The thinker's `chat`, or None where no thinker was asked for."""
    if not options.thinker:
        return None
    if options.thinker.startswith(("http://", "https://")):
        from ..thinkers.server import ServerChat

        return ServerChat(options.thinker, options.model, options.key_variable).chat
    from ..thinkers.loading import load_thinker

    return load_thinker(options.thinker, device=options.device).chat


def _caption_edits(options) -> int:
    from .captions import built_in_triples, captions_to_edits, read_captions, read_triples, write_fine_tuning_file

    triples = read_triples(options.triples) if options.triples else built_in_triples()
    if options.fine_tuning:
        print(f"{write_fine_tuning_file(triples, options.fine_tuning)} records → {options.fine_tuning}")
        return 0
    chat = _chat(options)
    if chat is None:
        raise RethinkError("caption-edits needs --thinker: a model folder, or the URL of a server with --model.")

    def line(progress) -> str:
        rate = progress.made / progress.seconds if progress.seconds else 0
        return f"{progress.seen} captions · {progress.made} edits · {progress.rejected} rejected · {rate:.2f} edits/s"

    done = captions_to_edits(chat, read_captions(options.captions), options.output, triples, options.seed, _Line(line))
    print(f"{done.made} edits made, {done.rejected} rejected → {options.output}")
    return 0


def _p2p(options) -> int:
    from .candidates import Drawer, Selection, draw_pairs, load_text_to_image
    from .captions import read_triples
    from .clip import Clip
    from .formats import describe_store
    from .prompt_to_prompt import Recipe
    from .store import PairStore

    if not (options.sd and options.clip):
        raise RethinkError("p2p needs --sd and --clip: a folder of Stable Diffusion, and one of CLIP.")
    recipe = Recipe(options.method, options.steps, options.sampler, tuple(options.threshold), tuple(options.guidance))
    looks = Selection().looks if options.looks is None else _looks(options.looks)
    selection = Selection(
        options.candidates, options.batch, options.image, options.caption, options.direction, options.best, looks, options.audited
    )  # fmt: skip
    triples = read_triples(options.triples)
    pipeline, clip = load_text_to_image(options.sd, options.device), Clip(options.clip, options.device)

    def line(tally) -> str:
        rate = tally.kept / tally.seconds if tally.seconds else 0
        seen = tally.captions + before
        left = tally.seconds / tally.captions * (len(triples) - seen) if tally.captions else float("inf")
        return f"{seen}/{len(triples)} captions · {tally.kept} pairs · {rate:.2f} pairs/s · {_clock(left)} left"

    with PairStore(options.store).writing() as store:
        before = sum(1 for _ in store.drawn)
        done = draw_pairs(store, triples, Drawer(store, pipeline, clip, recipe, selection, options.seed), on_progress=_Line(line))
        describe_store(store)
    print(f"{done.kept} pairs of {done.drawn} candidates, {done.skipped} captions skipped, {_clock(done.seconds)} → {options.store}")
    print(f"dropped early: {done.dropped}; drawn to the end to see: {done.audited}, of which good: {done.erred}; good ones lost: {done.lost:.1%}")
    return 0


def _looks(texts: list[str]) -> tuple[tuple[float, float], ...]:
    try:
        return tuple((float(share), float(slack)) for share, slack in (text.split(":") for text in texts))
    except ValueError as error:
        raise RethinkError(f"--looks: expected SHARE:SLACK, for example 0.3:0.15, got {' '.join(texts)}.") from error


def _filter(options) -> int:
    from .filters import Thresholds, filter_pairs, score
    from .store import PairStore

    thresholds = Thresholds(**{field.name: getattr(options, field.name) for field in fields(Thresholds)})
    store = PairStore.existing(options.store)
    clip = None
    if options.clip:
        from .clip import Clip

        clip = Clip(options.clip, options.device)
    with store.writing():
        score(store, clip, _Line(lambda done, total: f"{done}/{total} pairs measured"))
        accepted, rejected = filter_pairs(store, thresholds)
    print(f"{accepted} pairs accepted, {rejected} rejected")
    _print_counts("rejected because", (why for verdict in store.last_verdicts().values() for why in verdict["why"]))
    return 0


def _export(options) -> int:
    from .formats import FORMATS, export
    from .store import PairStore

    count = export(PairStore.existing(options.store), options.format, options.folder)
    print(f"{count} pairs → {options.folder}\nWhich is the target: {FORMATS[options.format].target}")
    return 0


def _import(options) -> int:
    from .formats import describe_store, import_dataset
    from .store import PairStore

    with PairStore(options.store).writing() as store:
        imported, skipped = import_dataset(store, options.format, options.folder)
        describe_store(store)
    print(f"{imported} pairs imported, {skipped} skipped → {options.store}")
    return 0


def _inspect(options) -> int:
    from .filters import histogram
    from .store import PairStore

    store = PairStore.existing(options.store)
    pairs, verdicts = list(store), store.last_verdicts()
    rejected = sum(not verdict["accepted"] for verdict in verdicts.values())
    print(f"{len(pairs)} pairs in {options.store}: {rejected} rejected, {len(pairs) - len(verdicts)} not judged yet")
    _print_counts("operation", (pair.operation or "other" for pair in pairs))
    _print_counts("rejected because", (why for verdict in verdicts.values() for why in verdict["why"]))
    _print_counts("skipped because", (record["why"] for record in store.skipped))
    for pair in pairs[:: max(1, len(pairs) // 5)][:5]:
        print(f"  {pair.operation or 'other'}: {pair.instruction}")
    if options.histogram:
        values = [record[options.histogram] for record in store.scores if isinstance(record.get(options.histogram), (int, float))]
        if not values:
            raise RethinkError(f"--histogram: no pair has a score {options.histogram!r}; run `filter` first.")
        bars = histogram(values)
        for edge, count in bars:
            print(f"{edge:9.3f} {'█' * round(50 * count / max(c for _, c in bars))} {count}")
    broken = [path for path in _unreadable(store, pairs)] if options.check else []
    for path in broken:
        print(f"broken: {path}", file=sys.stderr)
    return 1 if broken else 0


def _unreadable(store, pairs):
    for path in {path for pair in pairs for path in (pair.input, pair.target, pair.region) if path}:
        try:
            store.read_image(path)
        except RethinkError:
            yield path


def _print_counts(title: str, values) -> None:
    """The commonest values with their numbers left out, so that one kind of reason is one line."""
    counts = Counter(re.sub(r" \([^)]*%?\)| [0-9a-f]{16}|[\d.]+%", "", value).strip() for value in values)
    if counts:
        print(f"{title}:")
    for value, count in counts.most_common(12):
        print(f"  {count:7d}  {value}")


def _pairs_line(progress) -> str:
    return (
        f"{progress.seen}/{progress.total} pictures · {progress.made} pairs · {progress.skipped} skipped · "
        f"{progress.rate:.1f} pairs/s · {_clock(progress.left)} left"
    )


def _clock(seconds: float) -> str:
    if seconds == float("inf"):
        return "?"
    return f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02d}:{int(seconds) % 60:02d}"


class _Line:
    """Progress on the error stream: one line that is rewritten on a terminal, else a line every half minute."""

    def __init__(self, text: Callable[..., str]):
        self.text, self.last, self.terminal = text, 0.0, sys.stderr.isatty()

    def __call__(self, *progress) -> None:
        now = time.monotonic()
        if now - self.last >= (0.2 if self.terminal else 30):
            self.last = now
            print(f"\r{self.text(*progress)}\x1b[K" if self.terminal else self.text(*progress),
                  end="" if self.terminal else "\n", file=sys.stderr, flush=True)  # fmt: skip
