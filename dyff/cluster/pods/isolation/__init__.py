"""Chooses how programs of accounts are confined on this machine, and describes the sandbox of each container."""
