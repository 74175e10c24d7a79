"""Who may run now: dependencies and quotas. Pure."""
