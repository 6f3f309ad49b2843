"""From nodes to a program: checks, folding, versions."""
