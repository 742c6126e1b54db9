"""Embeddings of many windows by the int8 backbone that flies: computed once, on all cores or machines, kept on disk."""
