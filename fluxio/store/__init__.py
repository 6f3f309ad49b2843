"""Where checkpoints live: the contract of a store, and the stores that come with fluxio."""
