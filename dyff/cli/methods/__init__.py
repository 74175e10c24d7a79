"""Help for authors of methods: the folder of a method, a template of one, and its upload. `dyff method test` is in `dyff.serve.methods`."""
