"""One model in, another format out."""
