"""Pipeline adapters, which turn items into requests and responses into rows. Pure."""
