"""What was asked and answered: rows of requests, and what they come to by the minute."""
