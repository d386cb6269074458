"""Device profiles that come with ewarn: one TOML file a device, in the schema of `ewarn.profiles`."""
