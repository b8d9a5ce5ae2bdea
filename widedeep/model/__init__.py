"""The Wide & Deep network, its two optimisers, joint training and the warm start."""
