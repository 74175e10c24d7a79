"""The role that decides what runs, creates the custom resources, and cleans up after them."""
