"""The inspection log, what is read from it, and which models were in use when."""
