//! Explorer and stories: drives the pure core through every mishap.
