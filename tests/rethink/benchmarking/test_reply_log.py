"""Replies are found again by what was asked, also after a kill."""

from rethink.benchmarking.reply_log import NAME, ReplyLog, reply_key


def test_a_key_is_of_judge_texts_and_images():
    key = reply_key("judge 0", ["text", b"image"])
    others = [
        reply_key("judge 1", ["text", b"image"]),
        reply_key("judge 0", ["texx", b"image"]),
        reply_key("judge 0", ["text", b"imagf"]),
        reply_key("judge 0", [b"image", "text"]),
        reply_key("judge 0", ["text", "image"]),
        reply_key("judge 0", ["textimage"]),
        reply_key("judge 0", ["half \ud83d"]),
    ]
    assert len({key, *others}) == 8 and key == reply_key("judge 0", ["text", b"image"])


def test_replies_live_on(tmp_path):
    log = ReplyLog(tmp_path)
    assert log.find("a") is None
    log.add("a", "四 points\n", "item", "quality")
    log.add("b", "two", "item", "semantics")
    assert log.find("a") == "四 points\n"
    with open(tmp_path / NAME, "ab") as file:
        file.write(b'{"id": "c", "rep')  # killed
    again = ReplyLog(tmp_path)
    assert again.find("b") == "two" and again.find("c") is None
    again.add("c", "three", "item", "quality")
    assert ReplyLog(tmp_path).find("c") == "three"
