"""`python -m octoroute_py` is the command `octoroute`."""

from octoroute_py.cli.main import main

if __name__ == "__main__":
    main()
