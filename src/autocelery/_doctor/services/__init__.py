"""What runs: the broker and the workers, asked for what they say of themselves."""
