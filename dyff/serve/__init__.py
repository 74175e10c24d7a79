"""The composition root: command line, wiring, supervision."""
