"""What runs a step: the plan, its groups and batches, the states, and hooks. An optimizer is written without it."""
