"""Runbooks: a page for each tool and for each alert, rendered, so that they say what is in force."""
