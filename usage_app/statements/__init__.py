"""Closed months: closing, the files and the paper of a statement, and what may leave the ledger
afterwards.
"""
