"""Everything that decides. Pure: opens nothing, sleeps never, asks no clock."""
