"""The routes, by group. Each module has `routes(context)`, which returns a list of `dyff.api.route.Route`."""
