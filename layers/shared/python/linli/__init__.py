"""The kernel: what every context shares, and nothing that belongs to one of them."""
