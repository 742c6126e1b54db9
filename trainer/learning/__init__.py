"""From clips to a head: renderings of the field, the windows that hold what a label means, folds, a threshold."""
