"""From log-mel patches to gunshot events: model files, inference, the decision and the onset."""
