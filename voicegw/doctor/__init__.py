"""`voicegw doctor`: looks at a set-up and says what to do. Changes nothing, calls nobody.

finding.py   one thing that was looked at         machine.py   disk, files, clock, ports
engines.py   engines, loaded and asked            asking.py    how they are asked
switch.py    FreeSWITCH behind its event socket   server.py    a server that runs with this configuration
carriers.py  carriers that are set up, and the address they are given
"""
