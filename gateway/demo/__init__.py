"""The demo: a simulated boutique, the real gateway, a real broker, and a witness that counts what arrives."""


class DemoError(Exception):
    """The demo cannot go on; the text says why and what to do."""
