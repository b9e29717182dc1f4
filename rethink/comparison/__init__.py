"""Editors, LoRAs and settings side by side: each edits the same tasks; the edits are measured and voted on blind."""
