"""The authorization database: accounts, grants, tokens. Strongly consistent, outside the log."""
