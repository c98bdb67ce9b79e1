"""A language model as dialog engine: instructions and tools in a YAML file (`load`), played by `engine`."""
