"""Floor 3: one use case a function. No SQL text, no request objects."""
