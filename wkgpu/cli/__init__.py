"""The `wkgpu` command; see `app` for its subcommands."""
