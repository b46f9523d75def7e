"""The `wkgpu` command as ``python -m wkgpu``, which also works in a source tree that is not installed."""

from wkgpu.cli.app import main

if __name__ == "__main__":
    main()
