"""The roles that follow the log: aggregator, sink, orchestrator, informer."""
