"""Models on disk: what there is to get, what is there, getting it, moving it without a network.

catalog.py   the models we know            store.py   the folder, checks, import
pull.py      downloads that can go on where they stopped
"""
