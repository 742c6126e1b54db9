"""The models that were made: kept for ever, one of them in use."""
