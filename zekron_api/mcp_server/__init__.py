"""The MCP server: tools for agents, each of which is a request of the service to itself."""
