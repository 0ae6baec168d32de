"""``autocelery dev``: everything that a project needs while one works on it; each save is the next version."""
