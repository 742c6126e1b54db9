"""The s3 server for tests."""
