"""Alembic's scripts. New one: change models.py, then `alembic revision --autogenerate` by hand review."""
