"""Rethink: edit images by instruction, think while editing, and teach editors new edits. Torch in, torch out."""
