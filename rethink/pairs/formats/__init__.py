"""The layouts that other tools read: export a store to one, import one into a store."""

from __future__ import annotations

import hashlib
import io
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ...errors import RethinkError, describe_error
from ..contact_sheet import contact_sheet
from ..inverse.instructions import one_line
from ..jsonl_log import disk_full_as_error
from ..own_files import write_own
from ..pixels import read_picture
from ..store import EditPair, PairStore
from ..text_files import show_name
from . import archives, reading, writing
from .entries import ImportedPair, Skipped
from .exporting import whole_folder
from .places import Dataset

SHEET = 12  # pairs on the contact sheet
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Format:
    """title: whose layout. target: in plain words, where the wanted result is. use: how its trainer is told."""

    title: str
    target: str
    use: str
    write: Callable[[Iterable[writing.Example], Path, Path], int]
    read: Callable[[Path], Iterator[ImportedPair | Skipped]]


FORMATS = {
    "imagefolder": Format(
        "HF imagefolder, for diffusers' training scripts and for Rethink's own",
        "`edited/` holds the TARGET (what the model learns to make), `input/` what it is given.",
        "`train_instruct_pix2pix.py --train_data_dir FOLDER` (its default columns), or `train_dreambooth_lora_flux_kontext.py "
        "--dataset_name FOLDER --image_column edited_image --cond_image_column input_image --caption_column edit_prompt`.",
        writing.write_imagefolder,
        reading.read_imagefolder,
    ),
    "instruct-pix2pix": Format(
        "the original InstructPix2Pix",
        "`SEED_1.jpg` is the TARGET, `SEED_0.jpg` what the model is given.",
        "`data.params.train.params.path: FOLDER` in its config. These are JPEGs: equal pixels are only nearly equal.",
        writing.write_instruct_pix2pix,
        reading.read_instruct_pix2pix,
    ),
    "ai-toolkit": Format(
        "ai-toolkit",
        "`target/` (folder_path) holds the TARGET with the instruction beside it, `control/` (control_path) "
        "what the model is given.",
        "copy `dataset.yaml` into `datasets:` of the config.",
        writing.write_ai_toolkit,
        reading.read_folders,
    ),
    "musubi-tuner": Format(
        "musubi-tuner",
        "`target/` (image_directory) holds the TARGET with the instruction beside it, `control/` "
        "(control_directory) what the model is given.",
        "`--dataset_config dataset.toml`.",
        writing.write_musubi_tuner,
        reading.read_folders,
    ),
    "diffsynth": Format(
        "DiffSynth-Studio",
        "column `image` (`target/`) is the TARGET, `edit_image` (`control/`) what the model is given.",
        "`--dataset_base_path FOLDER --dataset_metadata_path FOLDER/metadata.csv --data_file_keys image,edit_image "
        "--extra_inputs edit_image`; for Kontext `kontext_images` in place of `edit_image`.",
        writing.write_diffsynth,
        reading.read_diffsynth,
    ),
    "simpletuner": Format(
        "SimpleTuner",
        "`target/` (id `edited`) holds the TARGET with the instruction beside it, `control/` (id `source`) "
        "what the model is given.",
        "`--data_backend_config=multidatabackend.json`.",
        writing.write_simpletuner,
        reading.read_folders,
    ),
    "fal-zip": Format(
        "fal and Replicate",
        "in `pairs.zip`, `ROOT_end.png` is the TARGET, `ROOT_start.png` what the model is given.",
        "upload `pairs.zip`.",
        writing.write_fal_zip,
        archives.read_fal_zip,
    ),
    "webdataset": Format(
        "WebDataset shards",
        "`KEY.target.png` is the TARGET, `KEY.input.png` what the model is given.",
        '`webdataset.WebDataset("pairs-{000000..N}.tar")`.',
        writing.write_webdataset,
        archives.read_webdataset,
    ),
}


def format_named(name: str) -> Format:
    """Raises RethinkError naming the known ones."""
    if name not in FORMATS:
        raise RethinkError(f"format: there is no {name!r}; choose among {', '.join(FORMATS)}.")
    return FORMATS[name]


def export(
    store: PairStore,
    name: str,
    folder: str | Path,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    replace: bool = False,
) -> int:
    """Write the accepted pairs to a new folder, with a README and a contact sheet. Returns how many.

    The folder appears when it is whole; replace: in the place of an earlier export, of which nothing was changed. What
    `on_progress(done, total)` raises ends the export. Raises RethinkError when something else is there, or there is no
    pair to write.
    """
    chosen, folder = format_named(name), Path(os.path.abspath(folder))
    try:
        with whole_folder(folder, replace) as passing:
            total = sum(1 for _ in _whole(store))
            if not total:
                raise RethinkError("export: no accepted pair to write; look at `inspect`, or loosen the filter.")
            items = _counted(writing.examples(store, store.accepted()), lambda done: on_progress(done, total))
            count = chosen.write(items, passing, folder)
            files = _description(store, store.accepted, chosen.title, chosen.target, chosen.use)
            for file, data in files.items():
                (passing / file).write_bytes(data)
    except OSError as error:
        raise RethinkError(f"export: cannot write {folder}: {error.strerror or error}.") from error
    return count


def _counted(items: Iterable, on_count: Callable[[int], None]) -> Iterator:
    for done, item in enumerate(items, 1):
        yield item
        on_count(done)


def _whole(store: PairStore) -> Iterator[EditPair]:
    """The accepted pairs. A trainer finds a missing picture after hours; here it is found before anything is written."""
    for pair in store.accepted():
        for path in (pair.input, pair.target):
            if not store.file(path).is_file():
                raise RethinkError(
                    f"export: {store.folder / path} of pair {pair.id} is missing; run `filter` to reject it."
                )
        yield pair


def describe_store(store: PairStore) -> None:
    """Write a README and a contact sheet into the store itself; those that are somebody else's stay, and that is said."""
    files = _description(
        store,
        lambda: iter(store),
        "Rethink's own pair store",
        "`target` of a line in `manifest.jsonl` is the real picture, the TARGET; `input` is what the model is given.",
        f"export it first: `python -m rethink export STORE FORMAT FOLDER`, FORMAT one of {', '.join(FORMATS)}.",
    )
    with disk_full_as_error(store.folder):
        theirs = write_own(store.folder, files)
    if theirs:
        _log.warning("%s holds a %s of its own, which is left as it is.", store.folder, " and a ".join(theirs))


def _description(
    store: PairStore, pairs: Callable[[], Iterator[EditPair]], title: str, target: str, use: str
) -> dict[str, bytes]:
    """{name: the file} of a README and, where there are pairs, a contact sheet. pairs() iterates them anew: a large store is
    never held in memory."""
    kinds = Counter(pair.operation or "other" for pair in pairs())
    count = kinds.total()
    lines = [
        f"# {count} edit pairs",
        "",
        f"Layout: {title}.",
        "",
        f"**Which is the target:** {target}",
        "",
        f"Training: {use}",
        "",
        "![some of the pairs](contact-sheet.jpg)",
        "",
        "| operation | pairs |",
        "|---|---|",
        *(f"| {show_name(kind)} | {count} |" for kind, count in kinds.most_common()),
        "",
        "Made with Rethink.",
        "",
    ]
    files = {"README.md": "\n".join(lines).encode()}
    if count:
        sheet = io.BytesIO()
        shown = islice(pairs(), 0, None, max(1, count // SHEET))
        contact_sheet(store, islice(shown, SHEET)).save(sheet, "JPEG", quality=88)
        files["contact-sheet.jpg"] = sheet.getvalue()
    return files


def import_dataset(
    store: PairStore, name: str, path: str | Path, on_skip: Callable[[str, str], None] = lambda name, why: None
) -> tuple[int, int]:
    """Read a dataset in another layout into the store held for writing. Returns (imported, skipped).

    What is there already is not doubled; what cannot be read is skipped, with its reason in the store's report and to
    `on_skip(where, why)`. Raises RethinkError where there is nothing in this layout.
    """
    path = Path(path)
    if not path.exists():
        raise RethinkError(f"import: there is no {path}.")
    imported = skipped = there = 0
    reported = {(record.get("source"), record.get("why")) for record in store.skipped}
    try:
        for entry in format_named(name).read(path):
            try:
                pair, pictures = _imported(store, entry)
            except Exception as error:  # one bad entry never ends an import, whatever its image makes a library raise
                why = describe_error(error)
                if (entry.name, why) not in reported:
                    store.skipped.append({"source": entry.name, "number": 0, "why": why})
                on_skip(entry.name, why)
                skipped += 1
                continue
            if pair.id in store:
                there += 1
                continue
            for relative, picture in pictures.items():
                store.write_image(relative, picture)
            store.add(pair)
            imported += 1
    except NotADirectoryError as error:
        raise RethinkError(f"import: {path} is a file; give the folder of the dataset.") from error
    if not (imported or skipped or there):
        about = Dataset(path).contents() if path.is_dir() else "it is a file"
        raise RethinkError(f"import: {path} holds no pair in the layout of {name}: {about}; choose its own layout.")
    return imported, skipped


def _imported(store: PairStore, entry: ImportedPair | Skipped) -> tuple[EditPair, dict]:
    if isinstance(entry, Skipped):
        raise RethinkError(entry.why)
    instruction, *captions = map(one_line, entry.texts())
    if not instruction:
        raise RethinkError("it has no instruction")
    before, after = entry.input(), entry.target()
    id = hashlib.sha256(before + after + instruction.encode()).hexdigest()[:16]
    pictures = {
        store.image_path(id, role): read_picture(io.BytesIO(data))
        for role, data in (("input", before), ("target", after))
    }
    return EditPair(
        id, *pictures, instruction, source=entry.name, input_caption=captions[0], target_caption=captions[1]
    ), pictures
