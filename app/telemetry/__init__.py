"""What the service says of itself: logs without personal data, metrics declared once, an injectable clock."""
