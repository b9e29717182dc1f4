"""Wide English: instructions for an edit of a scene, in very many wordings.

A sentence is grown from rules (`forms`, `verbs`, `words`, `reasoning`). What is held out are rules, not mixtures: a
sentence for training uses known ones only, a held-out sentence at least one that training never saw, by its group:
"forms": a new construction in known words; "words": verbs, adjectives and nouns never met, whose meaning follows from the
rest and the image; "mixed": such a verb inside a polite, wordy, capitalized or mistyped request.
"""

from .grammar import Edit
from .writer import GROUPS, write_request

__all__ = ["GROUPS", "Edit", "write_request"]
