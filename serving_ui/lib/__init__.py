"""Code without models that every other package may import: settings, clock, outbound policy. It imports no other package of the product."""
