"""Reconciles custom resources: observe, plan, apply."""
