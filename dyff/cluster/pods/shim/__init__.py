"""The small process that stands between the server and a pod's containers. Standard library only, so that it starts quickly."""
