"""Editors: an image and an instruction in, the edited image out, whatever the model behind it."""
