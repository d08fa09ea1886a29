"""Pages of the admin that show several floors, each composed here from what the apps offer."""
