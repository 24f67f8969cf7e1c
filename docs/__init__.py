"""The pages for readers, the record of experiments, and the programs that draw the pictures."""
