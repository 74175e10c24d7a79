"""The kinds of entities, one file each, which holds its structs and its row, `KIND` (`dyff.entities.kind.Kind`).

`dyff.entities.registry` lists this folder.
"""
