"""The `SipEndpoint` over pjsua2: pjsip signals, the media of every call is our `RtpLeg`.

pjsip is shown our descriptions in place of its own (onCallSdpCreated), so its media plane has nothing
to do: no sound device, no media port, no media thread. It is the independent phone behind
`voicegw call --stack pjsua2` and the interoperability tests. The wheel on PyPI holds four calls; further
ones get 486 from the library itself.

    loop: PjsuaEndpoint, one Dialog a call  <- numbers and strings ->  pjsua's thread: thread.py, calls.py

Importing it raises MissingExtra where pjsua2 is not installed.
"""

from importlib.util import find_spec

from media.errors import MissingExtra

if find_spec("pjsua2") is None:
    raise MissingExtra("pjsua2", "pjsua2-python")

from sip.pjsua.endpoint import PjsuaEndpoint  # noqa: E402 - not before we know that it can be imported

__all__ = ["PjsuaEndpoint"]
