"""The schedule in a database: what is due when, who may send it, and that it is sent once."""
