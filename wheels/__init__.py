"""The two wheels that are built from this tree: `dyff-platform` (pyproject.toml) and `dyff-sdk` (wheels/sdk/pyproject.toml)."""
