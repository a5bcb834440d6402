"""Instead of a module that imports torch."""
