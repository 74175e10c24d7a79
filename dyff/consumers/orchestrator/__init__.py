"""The role that decides what runs, makes its custom resources, and cleans up after it."""
