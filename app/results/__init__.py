"""What was found out about calls: kept for a while, and told to whoever listens."""
