"""What a flow may contain that this recogniser cannot hear."""


class DomainError(Exception):
    """A word, phrase or grammar that cannot be built; the message names it."""
