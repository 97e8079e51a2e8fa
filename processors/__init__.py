"""Stream processors: pure state machines, the views they fold events into, and the runtime that drives them."""
