"""Programs behind the command line: notebooks, headline, costs."""
