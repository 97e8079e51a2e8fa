"""The command line, the settings, and the composition: the only place that imports everything and chooses adapters."""
