"""The routes, by group: each module has `routes(context)`, a list of `dyff.api.route.Route`."""
