"""What Dyff is about: kinds of entities, the commands that change them, and the fold. Pure: no clock, no I/O."""
