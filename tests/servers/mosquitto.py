"""The mosquitto server for tests."""
