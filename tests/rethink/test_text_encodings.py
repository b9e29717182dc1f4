"""What a text that is not Unicode may say, in encodings as people have them."""

import contextlib
import re

import pytest

from rethink.errors import RethinkError
from rethink.text_encodings import certain, possible
from rethink.text_files import (
    decode_text,
)

OLDER = {
    "cp1252": [
        "Make the café’s sign blue.",
        "Man’s hat becomes red",
        "Mach das Haus größer und den Himmel grün.",
        "“Hello” — 20°C…",
        "Ajoute une crème brûlée à côté du château",
        "Añade un sombrero rojo al niño",
        "Déjà vu",
        "l’homme",
        "Straße",
        "it’s, they’ll",
    ],
    "cp1250": [
        "Zmień kolor kapelusza na czerwony, usuń człowieka",
        "Přidej klobouk a změň barvu oblohy",
        "dodaj żółty kapelusz",
    ],
    "cp1251": ["Сделай шляпу красной", "Удали человека на заднем плане и добавь дерево.", "сделай небо синим", "Кот"],
    "koi8_r": ["Сделай шляпу красной", "добавь кота"],
    "cp1253": ["Κάνε το καπέλο κόκκινο"],
    "cp1254": ["Şapkayı kırmızı yap ve gökyüzünü değiştir"],
    "cp1257": ["Maini cepuri uz sarkanu krāsu"],
    "cp1255": ["הפוך את הכובע לאדום"],
    "cp1256": ["اجعل القبعة حمراء"],
    "cp874": ["เปลี่ยนหมวกเป็นสีแดง"],
    "gb18030": [
        "把帽子变成红色",
        "让天空变成晚霞的颜色，并添加几只飞鸟。",
        "换成蓝色",
        "加一只猫",
        "把logo换成red色",
        "Make the café’s sign blue.",
    ],
    "big5": ["把帽子變成紅色", "刪除背景中的人", "加一隻貓", "把logo換成red色"],
    "cp932": ["帽子を赤くしてください", "猫を追加", "サングラス"],
    "euc_jp": ["帽子を赤くしてください"],
    "cp949": ["모자를 빨간색으로 바꿔 주세요", "하늘을 노을로 바꾸고 새를 추가하세요.", "고양이를 추가"],
    "mac_roman": ["Make the café’s sign blue.", "señor"],
    "cp437": ["café"],
    "iso8859_5": ["Удали человека"],
    "iso2022_jp": ["帽子を赤くしてください"],
    "cp037": ["make it red, please"],
}


@pytest.mark.parametrize("codec", OLDER)
def test_older_encodings_are_read_rightly_or_named(codec):
    for text in OLDER[codec]:
        try:
            assert decode_text(text.encode(codec)) == text
        except RethinkError as error:
            assert re.search("seems to be|may be|no encoding|control", str(error)) and "UTF-8" in str(error), text


def test_most_of_them_are_read():
    """What a spreadsheet or an editor on Windows writes in the commonest languages is worth more than a skip."""
    read = 0
    for codec, texts in OLDER.items():
        for text in texts:
            with contextlib.suppress(RethinkError):
                read += decode_text(text.encode(codec)) == text
    assert read >= 28


@pytest.mark.parametrize(
    ("text", "codec", "name"),
    [
        ("señor", "cp1252", "Windows-1252 or Windows-1250"),
        ("сделай небо синим", "cp1251", "Windows-1251 or KOI8"),
        ("下雪", "gb18030", "GB 18030"),
        ("caf\x8e", "latin-1", "Mac OS Roman"),
        ("הפוך את הכובע", "cp1255", "Windows-1255"),
    ],
)
def test_what_is_doubtful_is_named(text, codec, name):
    with pytest.raises(RethinkError, match=f"seems to be .*{name}"):
        decode_text(text.encode(codec))


def test_a_text_is_certain_where_every_possible_encoding_says_the_same():
    data = "Mach das Haus größer und den Himmel grün.".encode("cp1252")
    assert {"Windows-1252", "Windows-1250"} <= possible(data).keys() and certain(data) == data.decode("cp1252")
    doubtful = "señor".encode("cp1252")
    assert len(set(possible(doubtful).values())) > 1 and certain(doubtful) is None


def test_old_encodings_are_named_and_never_read_by():
    data = "caf\x8e".encode("latin-1")
    assert possible(data) == {"Mac OS Roman": "café"} and certain(data) is None


def test_a_word_mixes_no_scripts_and_has_no_capital_within():
    assert "Windows-1251" in possible("Сделай шляпу".encode("cp1251"))
    for odd in ("сДелай", "caшa"):
        assert "Windows-1251" not in possible(odd.encode("cp1251")), odd


def test_control_characters_are_no_text():
    assert possible("café\x01".encode("cp1252")) == {} and certain(b"\x81\x00") is None
