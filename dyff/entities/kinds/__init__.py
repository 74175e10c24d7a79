"""The kinds of entities, one file each: its structs and its row, `KIND` (`dyff.entities.kind.Kind`).

`dyff.entities.registry` lists this folder.
"""
