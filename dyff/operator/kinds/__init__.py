"""One module for each kind of custom resource, with the pure functions `wanted` and `decide`."""
