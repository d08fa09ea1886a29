"""What a call costs and whether it may be spent: admission, ledger, prices, reports."""
