"""By which address this machine reaches its own web server."""


def own_url(host: str, port: int) -> str:
    """http://HOST:PORT, for what it listens on: 0.0.0.0 is no address to go to."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
