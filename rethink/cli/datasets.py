"""The commands for existing pairs: `export`, `import`, `inspect`."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path

from ..errors import RethinkError
from ..progress import format_count, progress_with_eta
from ..text_files import show_name
from .arguments import add_command, add_switch
from .progress import ProgressLine, print_counts, print_result

PAIR_STORE = "pair-store"  # Rethink's own format, listed with the others


def add_export(commands) -> None:
    from ..pairs.formats import FORMATS

    formats = (PAIR_STORE, *FORMATS)
    parser = add_command(commands, "export", "write the accepted pairs in a trainer's layout", run_export)
    parser.add_argument("store", type=Path, help="folder of the pairs")
    parser.add_argument("format", choices=formats, help=f"{PAIR_STORE}: Rethink's own; adds only new pairs")
    parser.add_argument("folder", type=Path, help=f"a new folder; with {PAIR_STORE}, new or existing")
    add_switch(parser, "--replace", "rewrite an existing dataset, unless something in it was changed or added manually")
    parser = add_command(commands, "import", "read a dataset in another layout into a store", run_import)
    parser.add_argument("folder", type=Path, help="the dataset: a folder, or a zip in the fal-zip format")
    parser.add_argument("format", choices=FORMATS, help="layout of the dataset")
    parser.add_argument("store", type=Path, help="folder of the pairs, new or existing")
    parser.add_argument("--instruction", default="", help="instruction for pairs that have none")


def run_export(options) -> int:
    """Write the accepted pairs in another layout, or into another store."""
    from ..pairs.exporting import add_to_store, describe_references, export
    from ..pairs.formats import FORMATS
    from ..pairs.store import PairStore

    pairs = PairStore.open_existing(options.store)
    if options.format == PAIR_STORE:
        print_result(f"{format_count(add_to_store(pairs, options.folder), 'new pair')} → {options.folder}")
        return 0
    written = progress_with_eta("pairs written", ProgressLine())
    count = export(pairs, options.format, options.folder, written, options.replace)
    references = describe_references(pairs, options.format)
    target = f"The target: {FORMATS[options.format].target}"
    print_result(f"{format_count(count, 'pair')} → {options.folder}", target, *filter(None, [references]))
    return 0


def run_import(options) -> int:
    """Read a dataset in another layout into a store."""
    from ..pairs.exporting import count_references, describe_store
    from ..pairs.importing import import_dataset
    from ..pairs.review.filters import count_reasons
    from ..pairs.store import PairStore

    with PairStore(options.store).writing() as store:
        skipped: list[tuple[str, str]] = []
        found = import_dataset(
            store, options.format, options.folder, lambda *skip: skipped.append(skip), options.instruction
        )
        describe_store(store)
    references = count_references(found.only(store))
    print_result(
        f"{format_count(found.new, 'pair')} imported, {found.skipped} skipped → {options.store}",
        *filter(None, [references]),
    )
    print_counts("skipped because", count_reasons(why for _, why in skipped))
    if skipped:
        print(f"  The first is {show_name(skipped[0][0])}; {store.skipped.path} lists all.")
    return 0


def add_inspect(commands) -> None:
    parser = add_command(commands, "inspect", "show what is in a store: counts, reasons, scores", run_inspect)
    parser.add_argument("store", type=Path, help="folder of the pairs")
    parser.add_argument(
        "--histogram", metavar="SCORE", help="draw a histogram of a score, e.g. clip_sim_dir or changed"
    )
    add_switch(parser, "--check", "open every image")


def run_inspect(options) -> int:
    from ..pairs.exporting import count_references
    from ..pairs.review.filters import count_reasons
    from ..pairs.store import PairStore

    store = PairStore.open_existing(options.store)
    verdicts, count = store.current_verdicts(), sum(1 for _ in store)
    rejected = sum(not verdict["accepted"] for verdict in verdicts.values())
    print(
        f"{format_count(count, 'pair')} in {options.store}: {rejected} rejected, {count - len(verdicts)} not judged yet"
    )
    print_counts("operation", count_reasons(pair.operation or "other" for pair in store))
    if references := count_references(store):
        print(references)
    print_counts("rejected because", count_reasons(why for verdict in verdicts.values() for why in verdict["why"]))
    print_counts("skipped because", count_reasons(record["why"] for record in store.skipped))
    for line in store.manifest.damage():
        print(line, file=sys.stderr)
    for pair in islice(store, 0, None, max(1, -(-count // 5))):
        print(f"  {pair.operation or 'other'}: {pair.instruction}")
    if options.histogram:
        _print_histogram(store, options.histogram)
    broken = list(_unreadable(store)) if options.check else []
    for path in broken:
        print(f"broken: {path}", file=sys.stderr)
    return 1 if broken else 0


def _print_histogram(store, name: str) -> None:
    from ..pairs.jsonl_log import LatestIndex
    from ..pairs.review.filters import histogram

    scores = LatestIndex(store.scores)
    values = [record[name] for record in scores.records(scores) if isinstance(record.get(name), (int, float))]
    if not values:
        raise RethinkError(f"--histogram: no pair has a score {name!r}; run `filter` first.")
    bars = histogram(values)
    for edge, count in bars:
        print(f"{edge:9.3f} {'█' * round(50 * count / max(c for _, c in bars))} {count}")


def _unreadable(store):
    for path in {path for pair in store for path in pair.files}:
        try:
            store.read_image(path)
        except RethinkError:
            yield path
