"""Routes of a kind that its row does not imply, or that replace those: one file for each kind, named after it."""
