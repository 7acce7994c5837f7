def pytest_ignore_collect(collection_path, config):
    """Leave these tests out where they are not asked for: they need an environment of their own."""
    return None if any("tests/vllm" in argument for argument in config.args) else True
