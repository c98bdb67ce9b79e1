"""What can go wrong with media. One root, so that a caller may catch the package's errors at once."""


class MediaError(Exception):
    """Root of all errors raised by this package."""


UNREADABLE = (ValueError, LookupError, TypeError, AttributeError)
"""What reading JSON of an unexpected shape raises: an engine's error where an engine wrote it."""


class ProviderError(MediaError):
    """A speech engine failed.

    `retryable` says whether the same request may succeed later (a crashed worker, a dropped
    connection) or never will (a missing extra, an unknown voice).
    """

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class MissingExtra(ProviderError):
    """An optional package is not installed; the message says which `pip install` brings it."""

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(f"{package} is not installed: pip install 'voicegw[{extra}]'")
        self.extra = extra


class Unsupported(MediaError):
    """This leg or engine cannot do what was asked."""


class TransferError(MediaError):
    """The far end refused the transfer, or it did not answer; the caller is still with us."""


class TransferRefused(TransferError):
    """The far end does no transfers, or not now: it was never asked at the target."""
