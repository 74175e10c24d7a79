"""How benchmarks/overhead.py measures."""
