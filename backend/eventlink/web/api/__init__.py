"""The routes below ``/api``, one module a noun."""
