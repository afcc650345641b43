"""What staff and marketing make: printed codes, label sheets, tags."""
