"""Where images come from: folders, torchvision datasets, synthetic scenes, sample photographs."""
