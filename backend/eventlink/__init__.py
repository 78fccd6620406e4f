"""Event Link: the event recommender that lives in the Postgres you already have."""
