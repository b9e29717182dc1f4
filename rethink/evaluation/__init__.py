"""How good an edit is, by measures that need no judge."""
