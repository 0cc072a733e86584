"""Floor 2: what is known of an nn.Module from outside: its layers, its parameters' roles, its randomness."""
