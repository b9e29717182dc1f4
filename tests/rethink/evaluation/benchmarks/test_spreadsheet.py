"""Spreadsheets as other programs write them, made here by hand."""

import zipfile

import pytest

from rethink.errors import RethinkError
from rethink.evaluation.benchmarks import spreadsheet
from rethink.evaluation.benchmarks.spreadsheet import read_sheet

SPACE = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
STRINGS = f"""<sst {SPACE}><si><t>index</t></si><si><t>score</t></si><si><r><t>a_x000A_</t></r><r><t>b</t></r>
<rPh sb="0" eb="1"><t>reading</t></rPh></si></sst>"""
SHEET = f"""<worksheet {SPACE}><sheetData>
<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c><c r="AC1" t="inlineStr"><is><t>flag</t></is></c></row>
<row r="2"><c r="A2" t="s"><v>2</v></c><c r="B2"><v>4.5</v></c><c r="AC2" t="b"><v>1</v></c></row>
<row r="3"><c r="A3" t="str"><f>1+1</f><v>x</v></c><c r="B3" t="e"><v>#N/A</v></c><c r="Z3"><v>9</v></c><c r="AC3"/></row>
</sheetData></worksheet>"""


def write(file, sheet=SHEET, strings=STRINGS):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("xl/worksheets/sheet1.xml", sheet)
        if strings:
            archive.writestr("xl/sharedStrings.xml", strings)
    return file


def test_rows_by_the_names_of_the_first_one(tmp_path):
    rows = read_sheet(write(tmp_path / "a.xlsx"))
    assert rows == [{"index": "a\nb", "score": 4.5, "flag": True}, {"index": "x"}]


@pytest.mark.parametrize(
    ("sheet", "why"),
    [
        ("<worksheet", "cannot be read as a spreadsheet"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><worksheet/>', "declares entities"),
        (f'<worksheet {SPACE}><row><c r="A1" t="s"><v>99</v></c></row></worksheet>', "cannot be read as a spreadsheet"),
    ],
)
def test_what_is_no_sheet_is_one_sentence(tmp_path, sheet, why):
    with pytest.raises(RethinkError, match=f"^results: .*{why}"):
        read_sheet(write(tmp_path / "a.xlsx", sheet))


def test_no_archive_and_a_large_one(tmp_path, monkeypatch):
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    with pytest.raises(RethinkError, match="cannot be read as a spreadsheet"):
        read_sheet(tmp_path / "a.xlsx")
    monkeypatch.setattr(spreadsheet, "MOST_BYTES", 100)
    with pytest.raises(RethinkError, match="is too large"):
        read_sheet(write(tmp_path / "b.xlsx"))


def test_an_empty_sheet_has_no_rows(tmp_path):
    assert read_sheet(write(tmp_path / "a.xlsx", f"<worksheet {SPACE}/>", "")) == []
