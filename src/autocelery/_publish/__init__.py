"""The caller's side: from the working tree to a message, and what comes back."""
