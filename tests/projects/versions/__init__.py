"""A project whose version is written in three places, so that a mixture of two versions shows."""
