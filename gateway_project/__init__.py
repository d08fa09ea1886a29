"""The composition root: settings, URLs, servers. Imports every app; no app imports it."""
