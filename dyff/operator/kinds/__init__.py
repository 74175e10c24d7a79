"""What each kind of custom resource needs: `wanted` and `plan`, pure functions."""
