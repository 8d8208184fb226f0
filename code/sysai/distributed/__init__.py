"""Several processes as one program: launching them, naming their groups, messages, and collectives built on them."""
