"""What a project says that it needs: lock files and requirements, one module a format, and what they mean here."""
