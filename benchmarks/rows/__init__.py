"""One module a row of the table: ``measure(session)`` returns its figures."""
