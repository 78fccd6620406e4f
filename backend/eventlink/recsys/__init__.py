"""Floor 1: pure numerics. Arrays in, arrays out; no SQL, no HTTP, no settings, no clock."""
