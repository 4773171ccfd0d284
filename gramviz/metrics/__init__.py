"""What needs features AND labels: dense and global quality of a network."""
