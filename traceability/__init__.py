"""The inspection log, and what is read from it: records, dispositions, control charts."""
