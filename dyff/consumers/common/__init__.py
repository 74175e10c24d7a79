"""What several roles share: their loops, what they know of entities and custom resources, how they publish outcomes."""
