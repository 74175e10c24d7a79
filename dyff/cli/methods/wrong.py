"""The error of a method's folder."""


class Wrong(ValueError):
    """The folder cannot be a method; the message names the file, the field and the fix."""
