"""The inspection log, what is read from it and published, and which models were in use when."""
