"""Language models: the port (`base`), and one module an engine, found by its name from the configuration."""
