"""Editors: a picture and an instruction in, the edited picture out, whatever the model behind."""
