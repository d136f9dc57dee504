"""What is told to others about calls: webhooks, and alerts that rules on records raise."""
