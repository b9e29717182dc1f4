"""Keep unchanged pixels: an edit laid back on its source, the source's own pixels wherever nothing was changed."""
