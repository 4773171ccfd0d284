"""The page: widgets and pictures over the engine; computes nothing itself."""
