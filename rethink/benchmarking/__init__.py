"""Run a benchmark: edits, judge calls that are made only once, a budget, and the report."""
