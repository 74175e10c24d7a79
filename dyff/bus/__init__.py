"""The log: topics, partitions, keys, consumer groups, fenced owners. The seam between the roles."""
