"""What a process reports about itself: the names of everything (`names`), its metrics, and its traces."""
