"""Calls and their turns in a database.

models (tables) . ops (what is written, as statements) . store (`CallStore`: the writer and the reads) .
engine (connections, SQLite's settings) . migrate + migrations/ (Alembic) . view (the JSON contract)
"""
