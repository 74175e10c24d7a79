"""Foundations that every other package may use and that import none of our packages: errors, time, IDs, settings, logs."""
