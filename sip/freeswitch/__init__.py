"""FreeSWITCH as the edge: it has the trunk, we have the conversation.

    trunk <--> FreeSWITCH channel A  ---- bridge ---->  channel B <--SIP, RTP--> our SIP endpoint
                     ^  event socket                                                  |
                     '------- control: FreeswitchLeg, Handover, Reconciler  <---------' media: RtpLeg

One call is the control of channel A and a SIP call from FreeSWITCH to us, which brings the audio. The two
find each other by a reference in a header of that SIP call (references.py). It takes a stock FreeSWITCH.
"""

from sip.freeswitch.config import FreeswitchConfig
from sip.freeswitch.edge import FreeswitchEdge

__all__ = ["FreeswitchConfig", "FreeswitchEdge"]
