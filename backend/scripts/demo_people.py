"""Print the ids of two of the demo's people: one who is new, one who goes out most.

The new one has named interests and done nothing yet; 0 where there is nobody like that.
"""

import sys

try:
    from sqlalchemy import text

    from eventlink.db.accounts import RANKABLE
    from eventlink.db.session import connection
    from eventlink.logs import configure_logs
except ModuleNotFoundError as error:
    sys.exit(
        f"eventlink: error: {sys.executable} has no module {error.name};"
        " run make setup, then: .venv/bin/python backend/scripts/demo_people.py"
    )

STUDENTS = f"SELECT id FROM users WHERE {RANKABLE}"
NEW = f"""
{STUDENTS} AND id IN (SELECT user_id FROM user_interest_tags)
   AND id NOT IN (SELECT user_id FROM registrations)
   AND id NOT IN (SELECT user_id FROM event_interactions WHERE user_id IS NOT NULL)
 ORDER BY id LIMIT 1
"""
REGULAR = f"""
SELECT user_id FROM registrations WHERE user_id IN ({STUDENTS})
 GROUP BY user_id ORDER BY count(*) DESC, user_id LIMIT 1
"""

configure_logs("auto", "warning", service=False)
with connection() as conn:
    print(*(conn.scalar(text(sql)) or 0 for sql in (NEW, REGULAR)))  # noqa: T201
