"""The conversation with the model: API, routing, providers, streaming."""
