"""Routes that a kind has besides those that follow from its row, or in place of them: one file each, named after the kind."""
