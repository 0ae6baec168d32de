"""``python -m autocelery``."""

from __future__ import annotations

from autocelery._cli import main

if __name__ == "__main__":
    main()
