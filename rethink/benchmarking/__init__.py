"""Running a benchmark: edits, judge calls that are asked once, a budget, and the report."""
