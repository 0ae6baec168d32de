"""A shop that prices orders in the background."""
