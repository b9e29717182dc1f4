"""Trainers of edit LoRAs, of whole editors and of thinkers, each with what it keeps and reports."""
