"""Is this a photograph that the model can be asked about? Measures, limits, how they are fitted."""
