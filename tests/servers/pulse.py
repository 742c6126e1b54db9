"""The pulse server for tests."""
