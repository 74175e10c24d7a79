"""Verifies that state topic and view match the events, and rebuilds the view."""
