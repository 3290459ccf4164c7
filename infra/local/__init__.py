"""The local runtime, the build and the deployer: everything `make` runs on a laptop."""
