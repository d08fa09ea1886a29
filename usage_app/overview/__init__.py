"""What goes on now and of late, over all tenants or some: read from windows, roll-ups and counts,
never from the ledger, in as many statements for a thousand tenants as for one.
"""
