"""Editors, LoRAs and settings side by side: the same tasks edited by each, measured, and voted on blind."""
