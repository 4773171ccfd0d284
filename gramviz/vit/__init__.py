"""Networks and what goes in and out of them: pictures, backbones, patch features; no weight files."""
