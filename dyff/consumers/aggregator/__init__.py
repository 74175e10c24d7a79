"""The role that folds events into states."""
