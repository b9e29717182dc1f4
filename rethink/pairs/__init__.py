"""Training pairs: made by undoing the edit to be learned, or from captions; filtered, stored, exported."""
