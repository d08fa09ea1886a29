"""Price lists into the price book, and charging again at its prices."""
