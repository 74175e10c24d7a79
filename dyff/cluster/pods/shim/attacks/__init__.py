"""What a hostile program would try, as small functions that need only the standard library.

They run inside a sandbox: at every start of the server, to find out whether a tier holds on this machine, and in the tests. Each tries
to reach something that was placed there for it (`dyff.cluster.pods.isolation.targets`), and harms nothing else. It returns a sentence
that says what it reached. If it is refused, it returns None or raises an OSError.
"""
