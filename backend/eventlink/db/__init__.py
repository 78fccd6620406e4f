"""Floor 2: every table and every SQL statement."""
