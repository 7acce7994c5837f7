import pytest
from missing_tools import require


def test_a_missing_tool_skips_a_test_but_fails_it_in_continuous_integration(monkeypatch):
    require("sh")
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-tool is not installed"):
        require("sh", "no-such-tool")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-tool is not installed"):
        require("no-such-tool")
