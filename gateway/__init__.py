"""The touchpoint gateway: from a sighting in the boutique to an event at the broker."""
