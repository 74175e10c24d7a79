"""What every other package may lean on and that leans on none of ours: errors, time, identities, settings, logs."""
