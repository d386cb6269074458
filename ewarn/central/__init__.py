"""The centre: takes what stations send, stores it, and tells them what is stored."""
