"""Names of files as they may be shown."""


def printable(name: str) -> str:
    """The name with control characters escaped: a file name must not steer a terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in name)
