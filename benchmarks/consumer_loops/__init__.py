"""What benchmarks/consumers.py sets the roles beside."""
