"""The small process between the server and a pod's containers. It uses only the standard library, so that it starts quickly."""
