"""Measure how good an edit is, without a judge."""
