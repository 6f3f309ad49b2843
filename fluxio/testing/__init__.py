"""What tests need: the store contract, a harness for stages, a clock to move, faults to inject."""
