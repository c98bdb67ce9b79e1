"""Calls from web pages: ICE, DTLS-SRTP and Opus below, our own RTP, jitter buffer and clock above.

    page --WebSocket--> voicegw.softphone --> call.BrowserCall --> CallManager     signalling, JSON
    page --UDP--> ice -> dtls -> SRTP -> path.MediaPath -> leg.WebRtcLeg -> session

The network below comes from the libraries that aiortc stands on: aioice (ICE, TURN), pyOpenSSL (DTLS),
pylibsrtp, PyAV (Opus). aiortc's own RTP is not used: it costs a thread and several tasks a call, holds
80 ms of audio, knows no telephone events and cannot restart ICE (docs/dependencies.md).
"""
