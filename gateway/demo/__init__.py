"""The demo: a simulated boutique, the real gateway, a real broker, and a witness that counts what arrives."""
