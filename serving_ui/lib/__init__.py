"""Ground floor: environment, clock and outbound policy. No models; imports nothing of the product."""
