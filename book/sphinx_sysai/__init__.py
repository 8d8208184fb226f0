"""The Sphinx extensions that make both sites from one source; _config.yml names them in the order of loading."""
