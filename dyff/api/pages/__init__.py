"""The public pages that the server renders (ADR 42): HTML without any script, made of a dossier."""
