"""Language models that run on this machine without any key: `up` runs them while an admin wants them. Imports nothing but Python."""
