"""What the published contracts say is what the service does."""
