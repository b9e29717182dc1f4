"""Keep unchanged pixels: align an edit with its source, and restore the source's pixels where nothing changed."""
