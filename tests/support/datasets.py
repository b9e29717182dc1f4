"""Datasets that tests write as other tools do, and what comes of importing them."""

import io
import tarfile
import zlib

from PIL import Image

from rethink.pairs.importing import import_dataset
from rethink.pairs.store import PairStore
from tests.support.pairs import draw_image

# What InstructPix2Pix notes of a candidate.
CANDIDATE = {"p2p_threshold": 0.5, "cfg_scale": 9.0, "clip_sim_dir": 0.3}
DEEP = '{"a":' * 3000 + "1" + "}" * 3000


def encode_image(seed=0):
    data = io.BytesIO()
    Image.fromarray(draw_image(24, 32, seed)).save(data, "PNG")
    return data.getvalue()


GOOD = [encode_image(0), encode_image(1)]


def write_file(path, data=GOOD[0]):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


def counts(found):
    """(pairs that are new in the store, skipped) of an import."""
    return found.new, found.skipped


def import_pairs(name, data, root):
    """([instruction], {where: why}) of a dataset."""
    with PairStore(root / "store").writing() as store:
        why = {}
        found = import_dataset(store, name, data, why.__setitem__)
    said = [pair.instruction for pair in store]
    assert counts(found) == (len(said), len(why)) and {record["why"] for record in store.skipped} == set(why.values())
    for text in said:
        assert text and text.isprintable() and "\ufffd" not in text
    return said, why


def write_control_folders(root, *names, text="make it red"):
    """A dataset of targets and controls of some names, with their captions."""
    for name in names:
        write_file(root / "target" / f"{name}.png", encode_image(zlib.crc32(name.encode()) % 999))
        write_file(root / "control" / f"{name}.png", encode_image(1))
        if text is not None:
            write_file(root / "target" / f"{name}.txt", text)
    return root


def write_table(root, text, name="metadata.csv", sides=("target", "control")):
    for seed, side in enumerate(sides):
        write_file(root / side / "a.png", encode_image(seed))
        write_file(root / side / "b é.png", encode_image(seed + 2))
    write_file(root / name, text)
    return root


def sparse_member(name, size):
    """A member of an old GNU tar that says it is a file of `size` bytes, all of them a hole."""
    entry = tarfile.TarInfo(name)
    entry.size = 0
    header = bytearray(entry.tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[386:398], header[398:410] = b"%011o\0" % size, b"%011o\0" % 0
    header[483:495] = b"%011o\0" % size
    header[148:156] = b"%06o\0 " % sum(header[:148] + b" " * 8 + header[156:])
    return bytes(header)


def read_pairs(store):
    """{(instruction, input, target)} of the accepted pairs of a store, the images as bytes."""
    return {
        (pair.instruction, store.read_image(pair.input).tobytes(), store.read_image(pair.target).tobytes())
        for pair in store.accepted()
    }
