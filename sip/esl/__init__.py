"""The FreeSWITCH event socket: commands to a switch, events from it.

commands.py   what is sent, newline-proof        protocol.py   bytes <-> replies, events, notices (a core)
link.py       one connection                     client.py     we connect: commands, jobs, all events
server.py     FreeSWITCH connects: one call each channels.py   events in order, by channel, bounded
"""
