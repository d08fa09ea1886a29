"""Those who serve models: one module per kind of upstream, behind the Protocol of base.py."""
