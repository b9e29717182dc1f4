"""The published benchmarks of editing: what they ask, how their scripts read a judge's replies, and what they make of the scores."""
