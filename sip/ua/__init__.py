"""Our own asyncio SIP user agent, the default `SipEndpoint`."""
