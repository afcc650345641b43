"""The half with the network: no devices, no pseudonym keys. It sends what stands in the outbox, and says how far."""
