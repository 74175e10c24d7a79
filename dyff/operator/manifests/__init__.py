"""Builders of the Kubernetes objects that the operator creates. Pure."""
