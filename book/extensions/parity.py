"""Both languages say the same."""


def setup(app):
    return {}
