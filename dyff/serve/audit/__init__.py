"""The audit log: its files, what fills them, and what reads them."""
