"""The log: topics, partitions, keys, consumer groups, fenced owners. The interface between the roles."""
