from imagenet_think.core import plugins


def test_only_modules_are_plugins(tmp_path, monkeypatch):
    monkeypatch.setattr(plugins, "_PACKAGE", tmp_path)
    folder = tmp_path / "some" / "package"
    folder.mkdir(parents=True)
    for name in ("__init__.py", "b.py", "a.py", "copy of a.py", ".a.4711.tmp.py", "a.py~", "a.md"):
        (folder / name).touch()
    (folder / ".#b.py").symlink_to("somebody@somewhere")  # as Emacs does
    assert plugins.names("some.package") == ("a", "b")
