"""Floor 4: HTTP. Routes turn requests into calls of services, and their errors into statuses.

What does not live here: decisions (``services``) and the wiring of the whole (``main``).
"""
