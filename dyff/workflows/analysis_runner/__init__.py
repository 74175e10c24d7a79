"""The program that runs the code of a method, in the environment of analyses.

It is copied as files into the pod of a run and started there with the environment's Python (3.10 or later). So it imports nothing of
Dyff: the standard library and pyarrow; IPython, nbformat and nbconvert only for a notebook; dyff-audit only for a rubric.

`supervising` is the outer process. It starts one child, which is `running`: it runs the code, and `reporting` passes what became of it to
the outer process. The code is not trusted, and neither is what the child reports: the pod confines both, and the step that stores the
output checks it.
"""
