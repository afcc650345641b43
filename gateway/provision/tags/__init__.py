"""NFC tags of the store's touchpoints: written, read back, protected, and listed in an inventory."""
