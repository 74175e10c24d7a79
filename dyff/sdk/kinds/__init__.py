"""The groups of the client, one file for each kind of entity: its operations, and `GROUP`, the class that has them."""
