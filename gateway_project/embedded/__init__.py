"""What `./dev run` and the tests need and production does not: Postgres, secrets, demo data."""
