"""The log's vocabulary and its port: record types, codecs, topic specs, `Log` and its adapters. Imports no other layer."""
