"""Training: one loop that knows no family, its optimisers, its memory and its place in a cluster."""
