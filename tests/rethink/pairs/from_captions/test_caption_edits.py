"""Captions to edits: the paper's delimiters and reasons to reject, each caption once, killed runs go on."""

import json

import pytest

from rethink.errors import RethinkError
from rethink.pairs.from_captions.caption_edits import (
    CaptionEdit,
    built_in_edits,
    caption_to_edit,
    captions_to_edits,
    read_answer,
    read_caption_edits,
    read_captions,
    write_fine_tuning_file,
)

CAPTION = "a red car by the sea"
GOOD = "paint the car blue\n%%\na blue car by the sea"


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_built_in_triples_are_many_and_diverse():
    triples = built_in_edits()
    assert len(triples) >= 60
    for column in ("input", "edit", "output"):
        assert len({getattr(triple, column).lower() for triple in triples}) == len(triples)
    assert len({triple.edit.split()[0].lower() for triple in triples}) >= 20
    for triple in triples:
        assert read_answer(triple.input, f"{triple.edit}\n%%\n{triple.output}") == triple


def test_a_caption_becomes_an_edit(scripted):
    chat = scripted(GOOD)
    assert caption_to_edit(chat, CAPTION, built_in_edits(), 0) == CaptionEdit(
        CAPTION, "paint the car blue", "a blue car by the sea"
    )
    ((messages, images, _),) = chat.asked
    assert [m["role"] for m in messages] == ["system"] + ["user", "assistant"] * 12 + ["user"] and not images
    assert messages[-1]["content"][-1]["text"] == CAPTION
    other = scripted(GOOD)
    caption_to_edit(other, CAPTION, built_in_edits(), 1)
    assert other.asked[0][0] != messages, "every caption sees other examples"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("paint the car blue", "exactly one"),
        ("a\n%%\nb\n%%\nc", "exactly one"),
        ("", "exactly one"),
        ("paint it\n%%\nA red car by the sea.", "is the caption"),
        ("paint it\n%%\n", "one line"),
        ("I'm sorry, but\n%%\nno", "refused"),
        ("a\nb\n%%\nc", "one line"),
        ("a blue car\n%%\nA blue car.", "instruction is"),
    ],
)
def test_the_reasons_to_reject(answer, said):
    with pytest.raises(RethinkError, match=said):
        read_answer(CAPTION, answer)


def test_thoughts_and_the_papers_end_are_left_out():
    assert read_answer(CAPTION, f"<think>blue?</think>{GOOD}\nEND").output == "a blue car by the sea"


def test_an_edit_is_its_words_alone():
    instruction, edited = GOOD.split("\n%%\n")
    for answer in (
        f"```\n{GOOD}\n```",
        f"**{instruction}**\n%%\n“{edited}”",
        f'Instruction: "{instruction}"\n%%\n{edited}',
    ):
        assert read_answer(CAPTION, answer) == read_answer(CAPTION, GOOD)


def test_each_caption_once_rejected_ones_beside_and_a_torn_line_made_again(tmp_path, scripted):
    captions = tmp_path / "captions.txt"
    captions.write_text("a red car\nA red car.\n\na bad one\na house\n", encoding="utf-8")
    chat = scripted("make it blue\n%%\na blue one", *["no"] * 4, "paint it\n%%\na green house")
    output = tmp_path / "edits.jsonl"
    done = captions_to_edits(chat, read_captions(captions), output, built_in_edits())
    assert (done.made, done.rejected, done.seen) == (2, 1, 4)
    assert [record["caption"] for record in lines(output)] == ["a red car", "a house"]
    assert lines(tmp_path / "edits.jsonl.rejected")[0]["caption"] == "a bad one"

    whole = output.read_text()
    output.write_text(whole[:-20])
    asked = len(chat.asked)
    captions_to_edits(scripted("paint it\n%%\na green house"), read_captions(captions), output, built_in_edits())
    assert output.read_text() == whole and len(chat.asked) == asked
    silent = scripted(AssertionError("nothing is asked twice"))
    assert captions_to_edits(silent, read_captions(captions), output, built_in_edits()).made == 0


def test_a_failing_thinker_is_a_reason_and_not_an_end(tmp_path, scripted):
    done = captions_to_edits(scripted(OSError("gone")), [("a", ""), ("b", "")], tmp_path / "o.jsonl", built_in_edits())
    assert done.rejected == 2 and "gone" in lines(tmp_path / "o.jsonl.rejected")[1]["why"]
    again = captions_to_edits(scripted(GOOD), [("a", ""), ("b", "")], tmp_path / "o.jsonl", built_in_edits())
    assert again.made == 2, "it was away, and is asked again"


def test_captions_with_their_addresses(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text(
        '{"caption": "a cat", "url": "u"}\n{"caption": "ünï"}\n{"caption": "x", "url": null}\n', encoding="utf-8"
    )
    assert list(read_captions(path)) == [("a cat", "u"), ("ünï", ""), ("x", "")]
    path.write_text('{"text": "a cat"}\n')
    with pytest.raises(RethinkError, match="caption"):
        list(read_captions(path))
    with pytest.raises(RethinkError, match="cannot read"):
        list(read_captions(tmp_path / "missing.txt"))
    (tmp_path / "latin.txt").write_bytes("señor".encode("latin-1"))  # or Polish
    with pytest.raises(RethinkError, match="cannot read"):
        list(read_captions(tmp_path / "latin.txt"))


def test_the_users_triples_and_the_fine_tuning_file(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"input": "a cat", "edit": "make it a dog", "output": "a dog"}\n')
    triples = read_caption_edits(path)
    assert write_fine_tuning_file(triples, tmp_path / "f.jsonl") == 1
    assert lines(tmp_path / "f.jsonl") == [{"prompt": "a cat\n##\n", "completion": "make it a dog\n%%\na dog\nEND"}]
    for wrong in (
        '{"input": "a"}\n',
        "[1]\n",
        '{"input": "a", "edit": " ", "output": "b"}\n',
        '{"input": 1, "edit": "a", "output": "b"}\n',
        "",
        "{",
    ):
        path.write_text(wrong)
        with pytest.raises(RethinkError):
            read_caption_edits(path)


def test_a_users_file_is_neither_appended_to_nor_written_over(tmp_path):
    for text in ("my notes\n", '{"mine": 1}\n', "my notes"):
        (tmp_path / "mine.jsonl").write_text(text)
        with pytest.raises(RethinkError, match="not written by Rethink"):
            captions_to_edits(None, [("a cat", "")], tmp_path / "mine.jsonl", [])
        assert (tmp_path / "mine.jsonl").read_text() == text
        with pytest.raises(RethinkError, match="fine-tuning"):
            write_fine_tuning_file([CaptionEdit("a", "b", "c")], tmp_path / "mine.jsonl")
        assert (tmp_path / "mine.jsonl").read_text() == text
    for _ in range(2):
        assert write_fine_tuning_file([CaptionEdit("a", "b", "c")], tmp_path / "new.jsonl") == 1


def test_captions_in_any_encoding(tmp_path):
    (tmp_path / "c.txt").write_bytes("a café\r\nein Mädchen\r\n".encode("utf-16"))
    assert [caption for caption, _ in read_captions(tmp_path / "c.txt")] == ["a café", "ein Mädchen"]
    (tmp_path / "t.jsonl").write_text('{"input": "a", "edit": "\\ud83d", "output": "b"}\n')
    with pytest.raises(RethinkError, match="half a character"):
        read_caption_edits(tmp_path / "t.jsonl")
