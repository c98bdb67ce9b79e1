"""Our own asyncio SIP user agent, the default `SipEndpoint`.

    sockets -> Sources -> StreamFramer -> message -> TransactionLayer -> Reception -> Session
    (transport.py)             (stream.py)               (layer.py)          (reception.py)  (dialog + RtpLeg)

Message grammar, transactions, dialogs and digest are cores without I/O or clock; transport.py and
agent.py drive them.
"""

from sip.ua.agent import UserAgent
from sip.ua.config import SipConfig, Trunk

__all__ = ["SipConfig", "Trunk", "UserAgent"]
