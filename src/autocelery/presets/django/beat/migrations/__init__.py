"""Migrations of the tables of the schedule."""
