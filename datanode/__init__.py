"""Payloads on disks: volumes, the blob index, consumption of `writes`, and the client that gateways use."""
