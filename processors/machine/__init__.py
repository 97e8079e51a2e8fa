"""The state machine of the metadata store: `decide` reads and never writes, `apply` is the only writer.

Pure: no clock, random, I/O or log here. The same code runs live, at recovery and at rebuild.
"""
