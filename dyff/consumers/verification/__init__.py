"""Proving that state topic and view are what the events make, and building the view again."""
