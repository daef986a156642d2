"""Rounds of fine-tuning at the coordinator: checkpoints, events and what reads them."""
