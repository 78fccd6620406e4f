"""Floor 4: foreign files into our tables, and back."""
