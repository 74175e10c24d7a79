"""The command `dyff`: the commands that use a server, on top of the SDK, and the way to those of the server where it is installed."""
