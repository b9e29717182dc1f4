"""Trainers: each one file that reads top to bottom, over one shared optimisation loop (`loop.py`)."""
