"""Keep unchanged pixels: an edit aligned with its source, with the source's own pixels wherever nothing was changed."""
