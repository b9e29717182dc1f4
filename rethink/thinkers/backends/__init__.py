"""The backends of thinkers, one per module, each a row of the table in `loading`."""
