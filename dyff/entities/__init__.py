"""The domain of Dyff: kinds of entities, the commands that change them, and the fold. Pure: no clock, no I/O."""
