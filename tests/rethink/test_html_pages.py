"""Modules as one script, and data that stay data."""

import pytest

from rethink.errors import RethinkError
from rethink.html_pages import join_modules, page_policy, text_for_script, web_folder


def test_a_module_comes_after_what_it_needs_and_once(tmp_path):
    files = {
        "a/base.mjs": "export const base = 1;\n",
        "a/two.mjs": 'import { base } from "./base.mjs";\nexport const two = 2 * base;\n',
        "b/all.mjs": 'import {\n  base,\n} from "../a/base.mjs";\nimport { two } from "../a/two.mjs";\nexport class All {}\n',
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert join_modules(tmp_path / "b/all.mjs") == "const base = 1;\nconst two = 2 * base;\nclass All {}\n"
    (tmp_path / "a/two.mjs").unlink()
    with pytest.raises(RethinkError, match="not installed"):
        join_modules(tmp_path / "b/all.mjs")


def test_what_is_shown_cannot_end_its_script():
    assert "</script" not in text_for_script({"a": "</script><script>"})
    assert page_policy("", "", "connect-src 'self'").startswith("default-src 'none'; style-src 'sha256-")


def test_the_web_part_is_found():
    assert (web_folder("viewer") / "page.mjs").is_file() and (web_folder("compare") / "page.mjs").is_file()
