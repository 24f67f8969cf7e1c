"""The inspection log, and what is read from it: records, disposition, control charts."""
