"""The softphone: a page that calls, and the script by which other pages do.

GET / ----> GET /softphone/session (token) ----> WebSocket /softphone/ws: hello, call, answer, ...
embed.js -> GET /embed/session (by origin) ---------^        |
                                                         line.Line -> BrowserCall -> CallManager
"""
