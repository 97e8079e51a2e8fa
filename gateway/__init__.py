"""The HTTP gateway: S3 operations, authentication and authorisation. Stateless."""
