"""Dyff's own container image."""
