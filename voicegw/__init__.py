"""The application: configuration, calls, HTTP, storage and the command line. Imports all other rooms."""

__version__ = "0.1.0"  # setup.cfg reads it from here
