"""Makes checkpoints: configuration, augmentation, masks, heads and one loop that yields a report a step."""
