"""HTTP/1.1 as a server speaks it (RFC 9112), bounded: a connection, its exchanges, and how it ends."""
