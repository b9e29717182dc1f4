"""The backends of thinkers, one a module, each a row of the table in `loading`."""
