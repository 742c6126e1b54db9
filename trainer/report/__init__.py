"""What a person reads about a model: a page with plots and sounds, and its card."""
