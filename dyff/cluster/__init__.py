"""Kubernetes as a port: custom resources, Jobs, Deployments, Services, Pods."""
