"""The one script that sets up and runs everything names what it can do, and every document names it right."""

import re
import subprocess
import sys

from tests.support.hosts import PACK_ROOT


def test_without_a_job_it_names_all_of_them():
    ran = subprocess.run([sys.executable, PACK_ROOT / "start.py"], capture_output=True, text=True)
    assert ran.returncode == 2 and "demo|test|check" in ran.stderr


def test_documents_and_ci_name_jobs_that_there_are():
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", ".ci/run"):
        jobs = re.findall(r"start\.py (\w+)", (PACK_ROOT / name).read_text(encoding="utf-8"))
        assert jobs and set(jobs) <= {"demo", "test", "check"}, name
