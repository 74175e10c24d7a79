"""Code that several roles share: loops, views of entities and custom resources, and the publishing of outcomes."""
