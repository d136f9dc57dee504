"""What machines read of the interface: OpenAPI, AsyncAPI and the JSON Schemas of every message."""
