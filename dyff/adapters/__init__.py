"""Pipeline adapters: how items become requests and responses become rows. Pure."""
