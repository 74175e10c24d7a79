"""Compares systems by the item-level rows of measurements (docs/statistics.md, docs/adr/0044)."""
