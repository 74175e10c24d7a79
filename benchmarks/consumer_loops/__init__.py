"""The baselines with which benchmarks/consumers.py compares the roles."""
