"""python -m cirp: the command line."""

from cirp.cli import app

if __name__ == "__main__":
    app(prog_name="cirp")
