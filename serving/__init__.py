"""The decision service: what it says over HTTP, how it decides and records, and how Ray Serve runs it."""
