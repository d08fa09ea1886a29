"""Providers' bills: reading, matching with the books, and what they come to."""
