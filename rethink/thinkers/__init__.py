"""Vision-language models that critique edits: the backends, and what they are asked."""
