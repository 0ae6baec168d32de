"""Forty defects, each seeded into a small project, and what ``autocelery plan`` says of them."""
