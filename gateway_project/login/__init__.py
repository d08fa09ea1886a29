"""How staff comes in: by password or by the company's own provider, and for how long it stays."""
