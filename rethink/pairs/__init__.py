"""Training pairs: made by undoing the edit to be learnt, or from captions; filtered, kept, exported."""
