"""The object store: datasets, models, outputs; signed URLs."""
