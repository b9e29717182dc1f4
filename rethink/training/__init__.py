"""Trainers: each one file that reads top to bottom, over one shared optimization loop (`loop.py`)."""
