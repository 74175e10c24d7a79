"""Kubernetes objects as the operator creates them: pure builders."""
