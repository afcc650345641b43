"""The composition root: builds each half from the settings, runs it until a signal, and stops it without a loss.

`capture` and `uplink` are what systemd starts as two services; `run` starts the same two as child processes, which
talk through the same files and sockets. Each is composed in a module of its own, so that neither process carries the
other's libraries.
"""
