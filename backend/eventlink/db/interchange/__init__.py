"""The interchange format in SQL: its tables, loading them, dumping them."""
