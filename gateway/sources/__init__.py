"""The devices: each source is an async context manager and an async iterator of `Sighting`."""
