"""The one thing that crosses from the workshop to the service: a sealed folder of graphs and a manifest."""
