def pytest_ignore_collect(collection_path, config):
    """Collect these tests only when they are named: they need a separate environment."""
    return None if any("tests/vllm" in argument for argument in config.args) else True
